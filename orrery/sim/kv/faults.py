"""What is broken while clients work: plans of faults for the scenarios.

A plan begins with traffic that nothing disturbs, ends what it began, and leaves the rest to `KvCluster.heal`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from orrery.sim.faults import (
    BitRot,
    BreakConnections,
    Bridge,
    ClockDrift,
    ClockStep,
    CrashAt,
    FailingSync,
    FullDisk,
    Halves,
    Isolate,
    IsolateLeader,
    Kill,
    Nemesis,
    OneWayCut,
    Pause,
    PowerLoss,
    RingMajority,
    SlowDisk,
    SlowNetwork,
    SwizzleClog,
    Wipe,
    harass,
)
from orrery.sim.kv.cluster import KvCluster
from orrery.sim.setting import Contradiction
from storage.wal.wal import AFTER_WRITE, BEFORE_REMOVE, BEFORE_SEGMENT, BEFORE_WRITE

Faults: TypeAlias = Callable[[KvCluster], Awaitable[None]]
"""Breaks things by the world's random, and returns when nothing more is to be broken."""

FAULTS_S = 30.0
"""How long things are broken, about."""
STEADY_S = 2.0
"""Of traffic between a leader's election and the first fault, and between two faults."""
NOTICED_S_MAX = 3.0
"""How long a member may take to find out that its log is damaged."""
CONDEMNED = "/condemned-"
"""In the path of what was put aside."""
ROTS = 3
WIPES = 4
DRIFT_MAX = 0.02
"""A worse clock than this may end a lease before its time (orrery.checkers.lease)."""
EVERYTHING: tuple[Callable[[], Nemesis], ...] = (
    Halves,
    Isolate,
    lambda: Isolate(open_way="in"),
    lambda: Isolate(open_way="out"),
    IsolateLeader,
    Bridge,
    OneWayCut,
    RingMajority,
    SwizzleClog,
    SlowNetwork,
    BreakConnections,
    lambda: BreakConnections(half_open=True),
    Kill,
    lambda: Kill("leader"),
    lambda: Kill("all"),
    PowerLoss,
    lambda: PowerLoss("leader"),
    lambda: PowerLoss("all"),
    lambda: CrashAt(BEFORE_WRITE),
    lambda: CrashAt(AFTER_WRITE, "leader"),
    lambda: CrashAt(BEFORE_SEGMENT),
    lambda: CrashAt(BEFORE_REMOVE),
    Pause,
    lambda: Pause("leader"),
    lambda: ClockStep("all"),
    lambda: ClockDrift(fraction_max=DRIFT_MAX),
    SlowDisk,
    lambda: SlowDisk("leader", factor=20),
    FailingSync,
    FullDisk,
)
"""What a correct cluster bears. A member that lost or damaged what it promised is another matter."""
KINDS_MIN = 3
"""Of faults in one run. Few kinds at once find what many hide (Groce et al., ISSTA 2012)."""


async def swarm(cluster: KvCluster) -> None:
    """Some kinds of everything, by the seed, one after another and overlapping."""
    random = cluster.world.random
    await _steady(cluster)
    menu = random.sample(EVERYTHING, random.randint(KINDS_MIN, len(EVERYTHING)))
    await harass(cluster, menu, for_s=FAULTS_S, gap_s=random.choice((0.7, 1.5, 3.0)))


def held(*makes: Callable[[], Nemesis], hold_s: float = 5.0) -> Faults:
    """One fault after another, each held for so long, with traffic between."""

    async def faults(cluster: KvCluster) -> None:
        began_s = cluster.world.virtual_s
        while cluster.world.virtual_s < began_s + FAULTS_S:
            await _steady(cluster)
            async with cluster.world.random.choice(makes)().on(cluster):
                await asyncio.sleep(cluster.world.random.uniform(0.2, 2.0) * hold_s)

    return faults


async def depose(cluster: KvCluster) -> None:
    """Cuts one member after another off from the others, together with a client."""
    random = cluster.world.random
    await _steady(cluster)
    until_s = cluster.world.virtual_s + FAULTS_S
    while cluster.world.virtual_s < until_s:
        async with Isolate().on(cluster):
            await asyncio.sleep(random.uniform(1, 4))
        await asyncio.sleep(random.uniform(0, 2))


async def rot(cluster: KvCluster) -> None:
    """Bits turn over in closed segments, at one member after another. Each must put its log aside and rebuild it."""
    for _ in range(ROTS):
        await _steady(cluster)
        nemesis = BitRot()
        await nemesis.strike(cluster)
        rotten = nemesis.rotten
        if rotten is not None:
            await asyncio.sleep(NOTICED_S_MAX)
            if rotten not in cluster.corrupted and not any(CONDEMNED in path for path in rotten.disk.paths()):
                raise Contradiction("corruption", f"{rotten.name} runs on a damaged log")
        await nemesis.heal(cluster)
        await cluster.whole()


async def wipe(cluster: KvCluster) -> None:
    """A minority loses its disks, again and again; in between somebody else dies, too, and keeps its disk."""
    random = cluster.world.random
    for _ in range(WIPES):
        await cluster.whole()
        await asyncio.sleep(random.uniform(0.5, STEADY_S))
        async with Wipe().on(cluster):
            await asyncio.sleep(random.uniform(0, 2))
        await asyncio.sleep(random.uniform(0, 1))
        async with random.choice((Kill, Pause, OneWayCut))().on(cluster):
            await asyncio.sleep(random.uniform(0, 3))
    await cluster.whole()


async def _steady(cluster: KvCluster) -> None:
    await cluster.settled()
    await asyncio.sleep(STEADY_S)
