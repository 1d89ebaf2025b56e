"""Many faults, one after another and overlapping."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

from orrery.sim.faults.disks import heal_disk
from orrery.sim.faults.nemesis import Cluster, Nemesis

Menu: TypeAlias = Sequence[Callable[[], Nemesis]]
"""Makes the faults to choose from; what stands in it twice comes twice as often."""


async def harass(
    cluster: Cluster, menu: Menu, *, for_s: float, gap_s: float = 1.5, hold_s_max: float = 6.0, at_once_max: int = 3
) -> None:
    """Strikes with faults from the menu for some virtual seconds, then waits until all have healed.

    A new one begins every `gap_s` seconds on average, unless `at_once_max` are under way; each lasts up to `hold_s_max`
    beyond what striking takes.
    """
    random, world = cluster.world.random, cluster.world
    until_s = world.virtual_s + for_s
    under_way: set[asyncio.Task[None]] = set()

    async def one(nemesis: Nemesis, hold_s: float) -> None:
        async with nemesis.on(cluster):
            await asyncio.sleep(hold_s)

    async with asyncio.TaskGroup() as group:
        while world.virtual_s < until_s:
            await asyncio.sleep(random.expovariate(1 / gap_s))
            if len(under_way) >= at_once_max:
                continue
            nemesis, hold_s = random.choice(menu)(), random.uniform(0, hold_s_max)
            task = group.create_task(one(nemesis, hold_s), name=nemesis.name)
            under_way.add(task)
            task.add_done_callback(under_way.discard)


def restore(cluster: Cluster) -> None:
    """Ends every fault that can be ended, whoever began it, and boots every member that does not run."""
    cluster.world.tell("everything is healed")
    cluster.world.net.heal()
    for member in cluster.members:
        heal_disk(member)
        if member.process is not None and member.process.paused:
            member.resume()
        member.drift(member.rate_at_first)
        if member.process is None:
            cluster.boot(member)
