"""A calm world with the real cluster in it, and one process of a client that has access to all members."""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from orrery.sim.kv.access import Access
from orrery.sim.kv.cluster import KvCluster
from runtime import Runtime
from runtime.sim import SwarmOptions, World

Work: TypeAlias = Callable[[KvCluster, Access], Awaitable[None]]
Calmly: TypeAlias = Callable[[Work], World]


@pytest.fixture
def calmly() -> Calmly:
    """Plays work on a client's host once somebody leads; gives the world that has ended."""

    def play(work: Work) -> World:
        world = World(1, options=SwarmOptions())

        async def scenario(world: World) -> None:
            cluster = KvCluster(world)
            cluster.boot_members()
            await cluster.settled()

            async def main(runtime: Runtime) -> None:
                access = Access(runtime, cluster.names, random.Random(1))
                await work(cluster, access)
                await access.close()

            await cluster.clients[0].boot(main)

        logging.getLogger("orrery").setLevel(logging.CRITICAL)
        world.play(scenario)
        return world

    return play
