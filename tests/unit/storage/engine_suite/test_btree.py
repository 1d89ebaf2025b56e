"""The shared suite on the B+tree."""

from hypothesis import settings

from storage.btree import BTreeEngine
from storage.engine import DurableEngine
from storage.merge_operators import Append
from tests.unit.storage.engine_suite.durable import DurableEngineMachine


class BTreeMachine(DurableEngineMachine):
    async def open(self, path: str) -> DurableEngine:
        return await BTreeEngine.open(
            self.disk, path, operator=Append(), page_bytes=4096, cache_bytes_max=5_000, changed_bytes_max=100_000
        )


TestBTree = BTreeMachine.TestCase
TestBTree.settings = settings(max_examples=60, stateful_step_count=50, deadline=None, derandomize=True)
