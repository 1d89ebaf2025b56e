"""The suite is able to fail: a safeguard is taken away, and the suite must see it."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import HypothesisException
from hypothesis.stateful import run_state_machine_as_test

from storage.btree.space import FREE, SpaceMap
from tests.unit.storage.engine_suite.durable import DurableEngineMachine
from tests.unit.storage.engine_suite.test_btree import BTreeMachine
from tests.unit.storage.engine_suite.test_lsm import LsmMachine

EXAMPLES_MAX = 100


def sees(machine: type[DurableEngineMachine]) -> bool:
    """Whether the suite fails, which it should not need more than EXAMPLES_MAX histories for."""
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES_MAX,
                stateful_step_count=50,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except HypothesisException:
        raise
    except Exception:  # noqa: BLE001  # whichever way it shows
        return True
    return False


class LyingBTree(BTreeMachine):
    def __init__(self) -> None:
        super().__init__()
        self.disk.lie_about_sync = True


class LyingLsm(LsmMachine):
    def __init__(self) -> None:
        super().__init__()
        self.disk.lie_about_sync = True


@pytest.mark.parametrize("machine", [LyingBTree, LyingLsm])
def test_a_disk_that_lies_about_syncs(machine: type[DurableEngineMachine]) -> None:
    assert sees(machine)


def test_pages_that_are_taken_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    free: Callable[..., None] = SpaceMap.free

    def free_at_once(self: SpaceMap, page: int, count: int = 1) -> None:
        free(self, page, count)
        self.state[page : page + count] = bytes((FREE,)) * count
        self.free_pages += count

    monkeypatch.setattr(SpaceMap, "free", free_at_once)
    assert sees(BTreeMachine)


def test_snapshots_that_hold_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    release: Callable[..., None] = SpaceMap.release
    monkeypatch.setattr(SpaceMap, "release", lambda self, commit: release(self, 1 << 62))
    assert sees(BTreeMachine)
