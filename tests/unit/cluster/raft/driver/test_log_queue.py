"""The shared log's queue: completions come in the order of the appends, whichever way the log writes them."""

import asyncio
import random
from typing import cast

from cluster.raft.core.types import HardState, Ready
from cluster.raft.driver.group import Group
from cluster.raft.driver.log_queue import LogQueue
from runtime.real import SystemClock
from runtime.sim import SeededRandomness, SimDisk
from storage.wal import Wal


class StubGroup:
    """What the queue touches of a group whose Readys hold a hard state only."""

    def __init__(self) -> None:
        self.group_id = 1
        self.hard_state = HardState(1, 0, 0)
        self.hard_state_unsaved = False
        self.writes_in_flight = 0


class Fixture:
    def __init__(self, wal: Wal) -> None:
        self.wal = wal
        self.stub = StubGroup()
        self.failures: list[BaseException] = []
        self.woken = 0
        self.queue = LogQueue(wal, self._wake, self.failures.append)

    def _wake(self) -> None:
        self.woken += 1

    def add(self, number: int) -> None:
        self.stub.hard_state_unsaved = True
        self.queue.add_ready(cast(Group, self.stub), Ready(number, must_sync=True))

    def finished(self) -> list[int]:
        return [written.ready.number for written in self.queue.take_finished() if written.ready is not None]


async def fixture(disk: SimDisk) -> Fixture:
    wal, recovered = await Wal.open(disk, "wal", random=SeededRandomness(random.Random(1)), clock=SystemClock())
    assert [lsn async for lsn, _ in recovered] == []
    return Fixture(wal)


async def test_what_is_written_on_the_spot_is_finished_at_once() -> None:
    disk = SimDisk(random.Random(1))
    made = await fixture(disk)
    made.wal.pace.is_quick = True
    made.add(1)
    made.add(2)
    syncs = disk.syncs
    assert made.queue.append(on_the_spot=True)
    assert disk.syncs == syncs + 1
    assert not made.queue.has_gathered
    assert made.finished() == [1, 2]
    assert made.stub.writes_in_flight == 0
    assert not made.queue.append(on_the_spot=True), "there is nothing to append"
    await made.wal.close()


async def test_nothing_is_written_on_the_spot_where_that_is_not_allowed() -> None:
    made = await fixture(SimDisk(random.Random(1)))
    made.wal.pace.is_quick = True
    made.add(1)
    assert not made.queue.append(on_the_spot=False)
    assert made.finished() == []
    await made.queue.barrier()
    assert made.finished() == [1]
    assert made.woken == 1
    await made.wal.close()


async def test_appends_finish_in_their_order_whichever_way_they_are_written() -> None:
    made = await fixture(SimDisk(random.Random(1)))
    source = random.Random(2)
    number, finished = 0, []
    for _ in range(300):
        for _ in range(source.randrange(3)):
            number += 1
            made.add(number)
        made.wal.pace.is_quick = True
        made.queue.append(on_the_spot=source.random() < 0.7)
        for _ in range(source.randrange(4)):
            await asyncio.sleep(0)
        finished += made.finished()
    await made.queue.barrier()
    await asyncio.sleep(0)
    finished += made.finished()
    assert finished == list(range(1, number + 1))
    assert not made.failures
    await made.wal.close()


async def test_a_failure_on_the_spot_is_raised() -> None:
    disk = SimDisk(random.Random(1))
    made = await fixture(disk)
    made.wal.pace.is_quick = True
    made.add(1)
    disk.fail_syncs = 1
    try:
        made.queue.append(on_the_spot=True)
    except OSError:
        assert made.finished() == []
    else:
        raise AssertionError("the failure was swallowed")
