"""Memberships on simulated hosts; as a program, prints a seed's trace hash: `python simulated.py SEED...`."""

import asyncio
import dataclasses
import sys
from collections.abc import Awaitable, Callable

from cluster.membership.core import SwimConfig
from cluster.membership.driver import Change, Membership, MembershipOptions
from cluster.membership.metadata import Metadata
from runtime import Runtime
from runtime.sim import Limits, Outcome, SwarmOptions, World, run

PORT = 7946
FAST = SwimConfig(sync_ticks=100, reconnect_ticks=30)


class Site:
    """Hosts with a membership each, as the scenario sees them."""

    def __init__(self, world: World, names: tuple[str, ...], swim: SwimConfig = FAST, **options: object) -> None:
        self.world = world
        self.names = names
        self.members: dict[str, Membership] = {}
        self.heard: dict[str, list[Change]] = {name: [] for name in names}
        self._swim = swim
        self._options = options
        self.leaving: dict[str, asyncio.Event] = {}

    def boot(self, name: str, **options: object) -> None:
        """A process with nothing but a membership."""

        async def main(runtime: Runtime) -> None:
            settings = MembershipOptions(
                name=name,
                listen=f"0.0.0.0:{PORT}",
                advertise=f"{self.world.host(name).address}:{PORT}",
                seeds=tuple(f"{seed}:{PORT}" for seed in self.names[:2]),
                swim=self._swim,
                **{**self._options, **options},  # type: ignore[arg-type]
            )
            member = await Membership.start(
                runtime.net, runtime.clock, runtime.random, settings, Metadata(service=name.split("-", maxsplit=1)[0])
            )
            self.members[name] = member
            async for change in member.events():
                self.heard[name].append(change)

        self.world.host(name).boot(main)

    def boot_all(self) -> None:
        """All of them."""
        for name in self.names:
            self.boot(name)

    def agreed(self, *names: str) -> bool:
        """Whether all of `names` believe exactly `names` to be there."""
        wanted = sorted(names or self.names)
        return all(
            name in self.members
            and [view.name for view in self.members[name].members()] == wanted
            and not self.members[name].core.suspects
            for name in wanted
        )

    async def until(self, condition: Callable[[], bool], within_s: float) -> float:
        """Waits for a condition, and says how long."""
        start = self.world.virtual_s
        while not condition():
            if self.world.virtual_s - start > within_s:
                views = {name: [view.name for view in member.members()] for name, member in self.members.items()}
                raise AssertionError(f"not within {within_s} s: {views}")
            await asyncio.sleep(0.05)
        return self.world.virtual_s - start


def play(work: Callable[[World], Awaitable[None]], *, seed: int = 1, options: SwarmOptions | None = None) -> Outcome:
    """A run in a calm world, unless told otherwise."""
    return run(seed, work, options=options or SwarmOptions(), limits=Limits(virtual_s_max=2_000))


async def troubled(world: World) -> None:
    """Five members, faults, and peace again."""
    names = tuple(f"node-{number}" for number in range(5))
    site = Site(world, names)
    site.boot_all()
    await site.until(site.agreed, 60)
    for _ in range(6):
        victim, other = world.random.sample(names, 2)
        match world.random.randrange(5):
            case 0:
                world.host(victim).crash()
            case 1:
                world.host(victim).pause()
            case 2:
                world.net.isolate(victim)
            case 3:
                world.net.cut(victim, other, both=False)
            case _:
                world.net.lose(victim, other, 0.5)
        await asyncio.sleep(world.random.uniform(0, 20))
        world.net.heal()
        host = world.host(victim)
        host.resume()
        if host.process is None:
            site.boot(victim)
    await site.until(site.agreed, 200)


if __name__ == "__main__":
    for text in sys.argv[1:]:
        drawn = dataclasses.replace(World(int(text)).options, clock_drift_max=0.0001)
        print(text, play(troubled, seed=int(text), options=drawn).trace_hash)
