"""A whole cluster in one process, for tests: the real hosts over an `InMemoryNetwork`, with ticks driven by the test.

    cluster = InProcessCluster(Journal, {1: runtime_1, 2: runtime_2, 3: runtime_3})
    await cluster.start()
    leader = await cluster.leader()
    await cluster.drive(cluster.replica(leader).propose(b"x", timeout_s=60))
    await cluster.crash(leader)          # as kill -9: nothing more is written; then e.g. `disk.crash()`
    await cluster.boot(leader)

No time passes by itself: `tick` lets it pass on every host, and `drive` and `until` tick until something is done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from cluster.raft.driver import HostOptions, InMemoryNetwork
from cluster.replica.host import ReplicaHost
from cluster.replica.interface import DurableState, StateMachine
from cluster.replica.replica import Replica
from runtime import Runtime

ResultT = TypeVar("ResultT")
ValueT = TypeVar("ValueT")

TURNS_PER_TICK = 30
"""Turns of the event loop between two ticks: enough for a message, a write and the answer on a disk in memory."""
TICKS_MAX = 600
"""Ticks after which `drive` and `until` give up."""


class InProcessCluster(Generic[ResultT]):
    """Members 1..n, each with its own runtime, which outlives crashes."""

    def __init__(
        self,
        machine_factory: Callable[[], StateMachine[ResultT]],
        runtimes: Mapping[int, Runtime],
        *,
        open_stored: Callable[[Runtime], Awaitable[tuple[StateMachine[ResultT], DurableState]]] | None = None,
        options: HostOptions | None = None,
        groups: Sequence[int] = (1,),
    ) -> None:
        """With `open_stored`, each boot opens state machines that keep their state on the member's disk."""
        self.network = InMemoryNetwork()
        self.hosts: dict[int, ReplicaHost] = {}
        """The hosts that are up."""
        self.machines: dict[tuple[int, int], StateMachine[ResultT]] = {}
        """State machines by member and group."""
        self._replicas: dict[tuple[int, int], Replica[ResultT]] = {}
        self._factory = machine_factory
        self._open_stored = open_stored
        self._runtimes = runtimes
        self._options = replace(options or HostOptions(), tick_s=None)
        self._groups = tuple(groups)
        self.runs: dict[int, asyncio.Task[None]] = {}
        """The task of each host's `run`, also after it failed."""

    async def start(self) -> None:
        """Boots every member."""
        for member in self._runtimes:
            await self.boot(member)

    async def boot(self, member: int) -> None:
        """Starts one member from its disk. Raises what ReplicaHost raises."""
        host = await ReplicaHost.open(
            self._runtimes[member],
            "raft",
            member_id=member,
            voters=tuple(self._runtimes),
            transport=self.network.transport(member),
            options=self._options,
        )
        for group in self._groups:
            durable = None
            if self._open_stored is None:
                machine = self._factory()
            else:
                machine, durable = await self._open_stored(self._runtimes[member])
            self._replicas[member, group] = await host.replica(group, machine, durable)
            self.machines[member, group] = machine
        self.hosts[member] = host
        self.runs[member] = asyncio.create_task(host.run(), name=f"host-{member}")
        await asyncio.sleep(0)

    async def crash(self, member: int) -> None:
        """Ends one member without its graceful close. What is in flight to its disk may still be written."""
        self.network.detach(member)
        self.hosts.pop(member, None)
        run = self.runs[member]
        run.cancel()
        await asyncio.wait([run])

    async def stop(self) -> None:
        """Stops the members that are up, gracefully, and gives up the failed ones."""
        for member, host in list(self.hosts.items()):
            if self.runs[member].done():
                continue
            await host.stop(hand_over_s=0)
        self.hosts.clear()
        if self.runs:
            await asyncio.wait(self.runs.values())

    def replica(self, member: int, group: int = 1) -> Replica[ResultT]:
        """A member's replica, of its present life."""
        return self._replicas[member, group]

    async def tick(self, count: int = 1) -> None:
        """Lets ticks pass on all members, with turns of the loop in between."""
        for _ in range(count):
            for host in self.hosts.values():
                host.raft.tick()
            for _ in range(TURNS_PER_TICK):
                await asyncio.sleep(0)

    async def until(self, condition: Callable[[], bool], *, ticks_max: int = TICKS_MAX) -> None:
        """Ticks until the condition holds. Raises AssertionError when it does not in time."""
        for _ in range(ticks_max):
            if condition():
                return
            await self.tick()
        raise AssertionError(f"not reached within {ticks_max} ticks")

    async def drive(self, work: Coroutine[object, None, ValueT], *, ticks_max: int = TICKS_MAX) -> ValueT:
        """Ticks until the work is done, and returns its result or raises its error."""
        task = asyncio.get_running_loop().create_task(work)
        try:
            await self.until(task.done, ticks_max=ticks_max)
        finally:
            if not task.done():
                task.cancel()
        return await task

    async def leader(self, group: int = 1) -> int:
        """Ticks until one member leads in the newest term and has applied an entry of it; returns its id."""
        found = 0

        def elected() -> bool:
            nonlocal found
            up = [member for member in self.hosts if not self.runs[member].done()]
            terms = [self.replica(member, group).status.term for member in up]
            leaders = [member for member in up if self.replica(member, group).leadership.is_self]
            newest = [member for member in leaders if self.replica(member, group).status.term == max(terms)]
            found = newest[0] if newest else 0
            return bool(newest)

        await self.until(elected)
        return found
