"""The shared suite on the engine in memory: it has no disk, so the half without."""

from hypothesis import settings

from storage.memory import MemoryEngine
from storage.merge_operators import Append
from tests.unit.storage.engine_suite.machine import EngineMachine


class MemoryMachine(EngineMachine):
    def __init__(self) -> None:
        super().__init__()
        self.engine = MemoryEngine(Append())


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, derandomize=True)
