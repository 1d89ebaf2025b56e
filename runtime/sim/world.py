"""A world from a seed, and a run of a scenario in it.

    async def scenario(world: World) -> None:
        server, client = world.host("server"), world.host("client")
        server.boot(serve)
        await client.spawn(ask(), name="ask")

    outcome = run(7, scenario)

A scenario is ordinary asyncio code. It belongs to no host: it sees everything, has no network of its own, and breaks
things. What it prints or asserts is up to it; a run passes when it returns.
"""

import gc
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from runtime.sim.disk import SimDisk
from runtime.sim.errors import SimulationFailed
from runtime.sim.guard import guarded
from runtime.sim.host import SimHost
from runtime.sim.loop import SimLoop
from runtime.sim.net import SimNet
from runtime.sim.sites import Sites
from runtime.sim.swarm import SwarmOptions
from runtime.sim.trace import Trace

Scenario = Callable[["World"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may take. One that needs more fails with LimitReached."""

    steps_max: int = 50_000_000
    virtual_s_max: float = 3_600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to; equal for equal seeds and equal code."""

    seed: int
    trace_hash: str
    virtual_s: float
    steps: int
    connections: int
    messages: int
    """Writes that went onto the network."""
    bytes: int
    """Bytes that went onto the network."""
    syncs: int
    """Syncs of files and directories, of all disks."""
    recorded: list[str] = field(default_factory=list, repr=False)
    """Every step as a line, when recording was asked for."""


class World:
    """Everything that a seed decides. Made by `run`."""

    def __init__(
        self, seed: int, *, options: SwarmOptions | None = None, limits: Limits | None = None, record: bool = False
    ) -> None:
        self.seed = seed
        self.options = options if options is not None else SwarmOptions.draw(self.stream("swarm"))
        limits = limits or Limits()
        self.trace = Trace(record=record)
        self.loop = SimLoop(
            self.stream("schedule"),
            schedule=self.options.schedule,
            steps_max=limits.steps_max,
            virtual_s_max=limits.virtual_s_max,
            trace=self.trace,
        )
        self.net = SimNet(self.loop, self.options, self.stream("network"))
        self.loop.network = self.net
        self.random = self.stream("scenario")
        """For the scenario's own choices."""
        self.hosts: dict[str, SimHost] = {}
        self.disks: list[SimDisk] = []
        self.sites = Sites(self)
        """Failpoints and buggify sites of this world."""

    def stream(self, purpose: str, name: str = "") -> random.Random:
        """A generator of its own for each purpose, so that one more draw in one place shifts nothing elsewhere.

        Seeding by a string hashes it with SHA-512 and not with the process's secret.
        """
        return random.Random(f"{self.seed}/{purpose}/{name}")

    def host(self, name: str) -> SimHost:
        """The host of this name, made when it is new."""
        host = self.hosts.get(name)
        if host is None:
            host = self.hosts[name] = SimHost(self, self.net, name)
        return host

    @property
    def virtual_s(self) -> float:
        """Time since the start of the run."""
        return self.loop.virtual_s

    def tell(self, what: str) -> None:
        """Puts an event that belongs to no host into the trace."""
        self.trace.tell(self.loop.virtual_s, "world", what)

    def outcome(self) -> Outcome:
        """What the run has come to so far."""
        counters = self.net.counters
        return Outcome(
            seed=self.seed,
            trace_hash=self.trace.hex(),
            virtual_s=self.loop.virtual_s,
            steps=self.loop.steps,
            connections=counters.connections,
            messages=counters.messages,
            bytes=counters.bytes,
            syncs=sum(disk.syncs for disk in self.disks),
            recorded=self.trace.recorded or [],
        )

    async def _play(self, scenario: Scenario) -> None:
        await scenario(self)

    def play(self, scenario: Scenario) -> Outcome:
        """Runs a scenario to its end, and then ends the world. Raises SimulationFailed."""
        # What exists already cannot be collected at a step that depends on the process's history. It is not
        # collected now either: in a process that holds much, as one that runs tests does, that takes longer than most
        # worlds.
        gc.freeze()
        try:
            with guarded(self.loop), self.sites.installed():
                try:
                    main = self.loop.create_task(
                        self._play(scenario), name="scenario", context=self.loop.world.context.copy()
                    )
                    self.loop.run_until_complete(main)
                    outcome = self.outcome()
                finally:
                    self.loop.close()
                    # Tasks whose errors nobody asked for say so when they are collected.
                    gc.collect()
            if self.loop.failure is not None:
                raise self.loop.failure
        except Exception as error:
            story = f"{type(error).__name__}: {error}\nThe last events:\n{self.trace.story()}"
            raise SimulationFailed(self.seed, self.trace.hex(), self.loop.virtual_s, story) from error
        finally:
            gc.unfreeze()
        return outcome


def run(
    seed: int,
    scenario: Scenario,
    *,
    options: SwarmOptions | None = None,
    limits: Limits | None = None,
    record: bool = False,
) -> Outcome:
    """Plays a scenario in the world of a seed. Raises SimulationFailed, whose cause is what went wrong.

    Without `options` the seed draws them. With `record` the outcome holds every step as a line of text.
    """
    return World(seed, options=options, limits=limits, record=record).play(scenario)
