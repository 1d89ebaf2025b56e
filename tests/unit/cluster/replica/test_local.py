"""The fake replica keeps the interface's promises, and fails as told."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from cluster.replica import (
    Leadership,
    LocalReplica,
    NoLeader,
    ProposalTimeout,
    ReadTimeout,
    ReplicaStopped,
    Replicated,
)


class Journal:
    """Keeps every command; the result is how many there are."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def apply(self, commands: Sequence[tuple[int, bytes]]) -> list[int]:
        results = []
        for _, command in commands:
            self.commands.append(command)
            results.append(len(self.commands))
        return results

    def snapshot(self) -> Iterator[bytes]:
        yield from list(self.commands)

    async def restore(self, chunks: AsyncIterator[bytes]) -> None:
        self.commands = [chunk async for chunk in chunks]


async def test_applies_at_once_in_order() -> None:
    machine = Journal()
    replica = LocalReplica(machine, member_id=7)
    as_interface: Replicated[int] = replica
    assert await as_interface.propose(b"a", timeout_s=1) == 1
    assert await as_interface.propose(b"b", timeout_s=1) == 2
    await as_interface.read_barrier(timeout_s=1)
    assert machine.commands == [b"a", b"b"]
    assert replica.status.applied_index == 2
    assert replica.leadership == Leadership(1, 7, True)
    assert replica.log == [(1, b"a"), (2, b"b")]


@pytest.mark.parametrize("applied", [False, True])
async def test_fails_before_or_after_it_took_effect(applied: bool) -> None:
    machine = Journal()
    replica = LocalReplica(machine)
    replica.fail_next(ProposalTimeout("lost"), applied=applied)
    with pytest.raises(ProposalTimeout):
        await replica.propose(b"a", timeout_s=1)
    assert machine.commands == ([b"a"] if applied else [])
    await replica.propose(b"b", timeout_s=1)


async def test_without_leader_proposals_wait_then_fail() -> None:
    replica = LocalReplica(Journal())
    replica.set_leader(0)
    with pytest.raises(NoLeader):
        await replica.propose(b"a", timeout_s=0.01)
    with pytest.raises(ReadTimeout):
        await replica.read_barrier(timeout_s=0.01)
    waiting = asyncio.create_task(replica.propose(b"b", timeout_s=10))
    await asyncio.sleep(0)
    replica.set_leader(2)
    assert await waiting == 1


async def test_hold_makes_the_outcome_unknown_and_stop_ends_all() -> None:
    replica = LocalReplica(Journal())
    replica.hold()
    with pytest.raises(ProposalTimeout):
        await replica.propose(b"a", timeout_s=0.01)
    waiting = asyncio.create_task(replica.propose(b"b", timeout_s=10))
    await asyncio.sleep(0)
    replica.stop()
    with pytest.raises(ReplicaStopped):
        await waiting


async def test_leadership_is_told_first_and_at_each_change() -> None:
    replica = LocalReplica(Journal(), member_id=3)
    seen: list[Leadership] = []
    replica.on_leadership(seen.append)
    replica.set_leader(0)
    replica.set_leader(3)
    await asyncio.sleep(0)
    assert seen == [Leadership(1, 3, True), Leadership(2, 0, False), Leadership(3, 3, True)]


async def test_copies_its_state_into_another_machine() -> None:
    replica = LocalReplica(Journal())
    await replica.propose(b"a", timeout_s=1)
    other = Journal()
    await replica.copy_to(other)
    assert other.commands == [b"a"]
