"""What a fault is, and whom it hits.

    async with IsolateLeader().on(cluster):     # strikes, and heals what it broke, and nothing else
        await asyncio.sleep(5)

A nemesis makes every choice by the world's random and tells the trace what it does. It never fails because a host is
down, or because another nemesis has broken the same thing already: several may be at work at once. What two of them
broke is whole when the first one heals; `restore` mends everything.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar, Literal, Protocol, TypeAlias

from runtime.sim import SimHost, World

Whom: TypeAlias = Literal["one", "leader", "minority", "all"]
"""one: any member. leader: who leads, or any member when nobody says so. minority: as many as a majority can miss."""


class Cluster(Protocol):
    """What faults need to know of a cluster."""

    @property
    def world(self) -> World:
        """Where it lives."""
        ...

    @property
    def members(self) -> Sequence[SimHost]:
        """The hosts that make it up."""
        ...

    @property
    def clients(self) -> Sequence[SimHost]:
        """The hosts that use it. Partitions take them along, so that both sides are asked."""
        ...

    def boot(self, member: SimHost) -> None:
        """Starts a member that does not run."""
        ...

    async def leader(self) -> SimHost | None:
        """Who leads, as far as anybody says; asking may take a while."""
        ...


class Nemesis(ABC):
    """A fault. An object strikes once at a time, and may strike again after it healed."""

    name: ClassVar[str]
    """As the trace and the documentation name it."""

    async def strike(self, cluster: Cluster) -> None:
        """Breaks something; may take virtual time."""
        cluster.world.tell(f"{self.name} strikes")
        await self._strike(cluster)

    async def heal(self, cluster: Cluster) -> None:
        """Ends what this object broke; may take virtual time."""
        cluster.world.tell(f"{self.name} heals")
        await self._heal(cluster)

    @contextlib.asynccontextmanager
    async def on(self, cluster: Cluster) -> AsyncIterator[None]:
        """Broken while the block runs."""
        await self.strike(cluster)
        try:
            yield
        finally:
            await self.heal(cluster)

    @abstractmethod
    async def _strike(self, cluster: Cluster) -> None: ...

    @abstractmethod
    async def _heal(self, cluster: Cluster) -> None: ...


async def choose(cluster: Cluster, whom: Whom) -> list[SimHost]:
    """Members to hit, in the order of hitting."""
    random, members = cluster.world.random, cluster.members
    if whom == "leader":
        return [await cluster.leader() or random.choice(members)]
    count = {"one": 1, "minority": (len(members) - 1) // 2, "all": len(members)}[whom]
    return random.sample(members, count)
