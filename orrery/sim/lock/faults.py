"""What goes wrong around the lock service: plans, each of which breaks things for a while and returns.

What a plan broke it need not mend: `heal` does, in `scenarios.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from orrery.sim.lock.cluster import CLIENTS, MEMBERS, PROCESSES, TTL_S, LockCluster
from runtime.sim import SimHost

FAULTS_S = 20.0
"""How long things are broken."""
RATE_EXPONENT_MAX = 2.0
"""Clocks run at 2 to the power of this at most, and at 1 by that at least: from a quarter to four times."""
STEP_S_MAX = 100.0
"""Wall clocks jump by so much at most."""

Plan: TypeAlias = Callable[[LockCluster], Awaitable[None]]


async def break_things(cluster: LockCluster) -> None:
    """Faults by the seed, one after another, overlapping."""
    world = cluster.world
    random, net = world.random, world.net
    until_s = world.virtual_s + FAULTS_S
    names = [*MEMBERS, *PROCESSES, *CLIENTS]
    while world.virtual_s < until_s:
        await asyncio.sleep(random.expovariate(1.0))
        member, process = random.choice(cluster.members), random.choice(cluster.processes)
        host: SimHost = random.choice([*cluster.servers, *cluster.clients])
        other = random.choice([name for name in names if name != host.name])
        match random.randrange(14):
            case 0:
                member.crash()
            case 1:
                random.choice((member, process)).kill()
            case 2 | 3:
                cluster.boot_servers()
            case 4 | 5:
                # Longer than a session lives, often: what it does when it goes on comes too late.
                paused = random.choice((*cluster.clients, process, member))
                paused.pause()
                await asyncio.sleep(random.uniform(0, 8))
                paused.resume()
            case 6:
                inside = [name for name in names if random.random() < 0.5]
                net.partition(inside, [name for name in names if name not in inside])
            case 7:
                net.partition([process.name], [name for name in names if name != process.name])
            case 8:
                net.cut(host.name, other, both=random.random() < 0.5)
            case 9:
                net.clog(host.name, other)
            case 10:
                net.reset(host.name, other)
            case 11:
                net.half_open(host.name, other)
            case 12:
                host.clock.step(random.uniform(-STEP_S_MAX, STEP_S_MAX))
            case _:
                net.heal()
                cluster.boot_servers()


async def late_holders(cluster: LockCluster) -> None:
    """Clients stand still for longer than their session lives, and go on as if nothing had been.

    They cannot reach the lock service then, or the news that they lost their lock would be the first that they hear.
    """
    world = cluster.world
    until_s = world.virtual_s + FAULTS_S
    while world.virtual_s < until_s:
        await asyncio.sleep(world.random.uniform(0.2, 2))
        if not cluster.holders:
            continue
        paused = world.host(world.random.choice(sorted(cluster.holders)))
        for process in PROCESSES:
            world.net.cut(paused.name, process)
        paused.pause()
        await asyncio.sleep(world.random.uniform(4, 8))
        paused.resume()
        await asyncio.sleep(world.random.uniform(0, 2))
        world.net.heal()


async def wrong_clocks(cluster: LockCluster) -> None:
    """Nothing but time is wrong: the clocks of each host run at a rate of their own, which changes, and jump.

    A client whose clocks are slow renews too late, and believes in its session for longer than kv does.
    """
    world, random = cluster.world, cluster.world.random
    hosts: list[SimHost] = [*cluster.servers, *cluster.clients]

    def drift(host: SimHost) -> None:
        host.drift(2.0 ** random.uniform(-RATE_EXPONENT_MAX, RATE_EXPONENT_MAX))

    for host in hosts:
        drift(host)
    until_s = world.virtual_s + FAULTS_S
    while world.virtual_s < until_s:
        await asyncio.sleep(random.expovariate(1.0))
        host = random.choice(hosts)
        if random.random() < 0.5:
            seconds = random.uniform(-STEP_S_MAX, STEP_S_MAX)
            host.tell(f"wall clock stepped by {seconds:+.3f} s")
            host.clock.step(seconds)
        else:
            drift(host)


async def long_pauses(cluster: LockCluster) -> None:
    """Whoever it is, clients, lock processes, members of kv: they stand still for longer than a session lives.

    Nothing else happens, so they hear of what they missed as soon as they go on; what they do before comes too late.
    """
    world, random = cluster.world, cluster.world.random
    until_s = world.virtual_s + FAULTS_S
    while world.virtual_s < until_s:
        await asyncio.sleep(random.uniform(0.2, 2))
        holding = [world.host(name) for name in sorted(cluster.holders)]
        candidates = [random.choice(holding or cluster.clients), random.choice(cluster.clients)]
        candidates += [random.choice(cluster.processes), random.choice(cluster.members)]
        paused = dict.fromkeys(random.sample(candidates, random.randint(1, len(candidates))))
        for host in paused:
            host.pause()
        await asyncio.sleep(random.uniform(1, 2.5) * TTL_S)
        for host in paused:
            host.resume()
            await asyncio.sleep(random.choice((0, random.uniform(0, 0.5))))
