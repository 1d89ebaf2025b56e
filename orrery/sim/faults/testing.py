"""A cluster of hosts on which nothing happens but faults, for the tests of faults."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from orrery.sim.faults.nemesis import Nemesis
from runtime import Runtime
from runtime.sim import SimHost, SwarmOptions, World, run


class HostCluster:
    """A `Cluster` whose hosts run and do nothing."""

    def __init__(self, world: World, members: int) -> None:
        self.world = world
        self.members = [world.host(f"m-{number}") for number in range(members)]
        self.clients = [world.host(f"c-{number}") for number in range(2)]
        self.leads: SimHost | None = None
        """What `leader` answers."""
        for host in (*self.members, *self.clients):
            self.boot(host)

    def boot(self, member: SimHost) -> None:
        """Starts a host."""

        async def main(runtime: Runtime) -> None:
            await asyncio.Event().wait()

        member.boot(main)

    async def leader(self) -> SimHost | None:
        """Says after a while who leads."""
        await asyncio.sleep(0.1)
        return self.leads

    def cut(self) -> set[tuple[str, str]]:
        """Every direction between two members that is cut."""
        names = [member.name for member in self.members]
        return {(a, b) for a in names for b in names if a != b and self.world.net.link(a, b).cut}

    def clogged(self) -> set[tuple[str, str]]:
        """Every direction between two hosts that is clogged."""
        names = [host.name for host in (*self.members, *self.clients)]
        return {(a, b) for a in names for b in names if a != b and self.world.net.link(a, b).clogged}

    async def struck(self, nemesis: Nemesis) -> None:
        """Strikes, and sees that the trace says so."""
        await nemesis.strike(self)
        assert any(event.what == f"{nemesis.name} strikes" for event in self.world.trace.log or ())


Play: TypeAlias = Callable[[Callable[[HostCluster], Awaitable[None]]], None]
"""Plays what happens to a cluster."""


def play_with(members: int) -> Play:
    """Plays it in five worlds."""

    def play(scenario: Callable[[HostCluster], Awaitable[None]]) -> None:
        for seed in range(5):
            run(seed, lambda world: scenario(HostCluster(world, members)), options=SwarmOptions(), record=True)

    return play
