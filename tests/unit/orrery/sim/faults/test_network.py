"""What each fault of the network leaves open, and that it mends what it cut."""

import asyncio
from typing import Literal

import pytest

from orrery.sim.faults import (
    BreakConnections,
    Bridge,
    Halves,
    Isolate,
    IsolateLeader,
    OneWayCut,
    RingMajority,
    SlowNetwork,
    SwizzleClog,
)
from orrery.sim.faults.testing import HostCluster, Play


def heard(cluster: HostCluster, name: str) -> set[str]:
    """Whom a member hears, itself included."""
    cut = cluster.cut()
    return {member.name for member in cluster.members if (member.name, name) not in cut}


def test_halves_are_a_majority_and_a_minority(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        nemesis = Halves()
        await cluster.struck(nemesis)
        count = len(cluster.members)
        sizes = sorted(len(heard(cluster, member.name)) for member in cluster.members)
        assert sizes == [count // 2] * (count // 2) + [count // 2 + 1] * (count // 2 + 1)
        await nemesis.heal(cluster)
        assert not cluster.cut()

    play(scenario)


def test_the_leader_is_isolated_with_a_client(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        leader = cluster.leads = cluster.members[1]
        async with IsolateLeader().on(cluster):
            assert heard(cluster, leader.name) == {leader.name}
            assert all(leader.name not in heard(cluster, other.name) for other in cluster.members if other != leader)
            reached = [c for c in cluster.clients if not cluster.world.net.link(c.name, leader.name).cut]
            assert len(reached) == 1
            assert cluster.world.net.link(reached[0].name, cluster.members[0].name).cut
        assert not cluster.cut()

    play(scenario)


@pytest.mark.parametrize("way", ["in", "out"])
def test_a_member_that_can_only_hear_or_only_speak(play: Play, way: Literal["in", "out"]) -> None:
    async def scenario(cluster: HostCluster) -> None:
        leader = cluster.leads = cluster.members[0]
        async with IsolateLeader(open_way=way).on(cluster):
            others = {member.name for member in cluster.members if member != leader}
            one_way = {(leader.name, other) for other in others}
            assert cluster.cut() == (one_way if way == "in" else {(b, a) for a, b in one_way})

    play(scenario)


def test_isolate_takes_any_member(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        async with Isolate().on(cluster):
            assert sum(len(heard(cluster, member.name)) == 1 for member in cluster.members) == 1

    play(scenario)


def test_halves_overlap_in_the_bridge(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        async with Bridge().on(cluster):
            count = len(cluster.members)
            sizes = sorted(len(heard(cluster, member.name)) for member in cluster.members)
            assert sizes == [count // 2 + 1] * (count - 1) + [count]

    play(scenario)


def test_a_cut_one_way(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        async with OneWayCut().on(cluster):
            assert len(cluster.cut()) == 1

    play(scenario)


def test_each_hears_another_majority(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        async with RingMajority().on(cluster):
            majorities = [frozenset(heard(cluster, member.name)) for member in cluster.members]
            assert {len(majority) for majority in majorities} == {len(cluster.members) // 2 + 1}
            assert len(set(majorities)) == len(cluster.members)
            assert all(member.name in heard(cluster, member.name) for member in cluster.members)

    play(scenario)


def test_swizzled_members_are_clogged_and_unclogged_one_by_one(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        grown: list[int] = []

        async def watch() -> None:
            while True:
                count = len(cluster.clogged())
                if not grown or grown[-1] != count:
                    grown.append(count)
                await asyncio.sleep(0.001)

        watcher = asyncio.create_task(watch())
        nemesis = SwizzleClog()
        await cluster.struck(nemesis)
        most = len(cluster.clogged())
        await nemesis.heal(cluster)
        watcher.cancel()
        assert most > 0
        assert not cluster.clogged()
        top = grown.index(most)
        assert grown[: top + 1] == sorted(set(grown[: top + 1]))
        assert grown[top:] == sorted(set(grown[top:]), reverse=True)

    play(scenario)


def test_slow_links_become_fast_again(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        names = [member.name for member in cluster.members]
        pairs = [(a, b) for a in names for b in names if a != b]
        async with SlowNetwork(factor=7).on(cluster):
            slow = [pair for pair in pairs if cluster.world.net.link(*pair).latency_factor == 7]
            assert len(slow) == 2 * (len(names) - 1)
        assert all(cluster.world.net.link(*pair).latency_factor == 1 for pair in pairs)

    play(scenario)


def test_broken_connections_are_told(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        await cluster.struck(BreakConnections())
        await cluster.struck(BreakConnections(half_open=True))
        told = [
            what
            for host, what in ((event.host, event.what) for event in cluster.world.trace.log or ())
            if host == "net"
        ]
        assert any("reset" in what for what in told)
        assert any("half open" in what for what in told)

    play(scenario)
