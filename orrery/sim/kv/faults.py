"""What breaks the cluster while clients work. What is broken is healed by `KvCluster.heal`, not here."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from orrery.sim.kv.cluster import CLIENTS, MEMBERS, KvCluster

Faults: TypeAlias = Callable[[KvCluster], Awaitable[None]]
"""Breaks things by the world's random, and returns when nothing more is to be broken."""

FAULTS_S = 30.0
"""How long things are broken."""


async def break_things(cluster: KvCluster) -> None:
    """Faults by the seed, one after another, overlapping; at least one member may always be up, or none."""
    world, random, net = cluster.world, cluster.world.random, cluster.world.net
    until_s = world.virtual_s + FAULTS_S
    names = [*MEMBERS, *CLIENTS]
    while world.virtual_s < until_s:
        await asyncio.sleep(random.expovariate(1.0))
        member = random.choice(cluster.members)
        other = random.choice([name for name in names if name != member.name])
        match random.randrange(14):
            case 0:
                member.crash()
            case 1:
                member.kill()
            case 2 | 3:
                cluster.boot_members()
            case 4:
                member.pause()
            case 5:
                member.resume()
            case 6:
                # With a client beside it, so that a deposed leader is still asked.
                beside = random.choice(CLIENTS)
                net.partition([member.name, beside], [name for name in names if name not in (member.name, beside)])
            case 7:
                net.cut(member.name, other, both=random.random() < 0.5)
            case 8:
                net.clog(member.name, other)
            case 9:
                net.reset(member.name, other)
            case 10:
                net.half_open(member.name, other)
            case 11:
                member.disk.fail_syncs = 1
            case 12:
                member.disk.sync_latency_s = world.options.sync_latency_s * random.choice((1, 1, 10, 100))
            case _:
                net.heal()
        if random.random() < 0.2:
            member.clock.step(random.uniform(-100, 100))


async def depose(cluster: KvCluster) -> None:
    """Cuts one member after another off from the others, together with a client."""
    world, random, net = cluster.world, cluster.world.random, cluster.world.net
    until_s = world.virtual_s + FAULTS_S
    names = [*MEMBERS, *CLIENTS]
    while world.virtual_s < until_s:
        inside = [random.choice(MEMBERS), random.choice(CLIENTS)]
        net.partition(inside, [name for name in names if name not in inside])
        await asyncio.sleep(random.uniform(1, 4))
        net.heal()
        await asyncio.sleep(random.uniform(0, 2))
