"""The processes of a service for a client that chooses itself: one of them is current, and the next when it fails.

For clients whose calls are not alike at all processes: kv's leader answers with one hop less, and a session of the lock
service stays where its stream is. Everything else is balanced by `channel`.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc.aio

from cluster.discovery.endpoint import EndpointSet
from cluster.discovery.parting import end_parting, part
from cluster.discovery.source import Source
from cluster.discovery.static import as_source
from cluster.rpc.engine import RpcOptions, create_channel
from runtime import Net, Randomness

StubsT = TypeVar("StubsT")
DRAIN_S = 5.0
"""How long calls may take to end at a process that is not in the set any more."""


@dataclass(frozen=True, slots=True, eq=False)
class Member(Generic[StubsT]):
    """One process, and what is called of it."""

    address: str
    channel: grpc.aio.Channel
    stubs: StubsT


class Roster(Generic[StubsT]):
    """Follows a source. Members that stay in the set keep their connections. Made on a running loop; close it.

    A set without anybody is not believed while somebody is known: asking in vain costs less than not asking.
    """

    def __init__(
        self,
        source: Source | Sequence[str],
        make: Callable[[grpc.aio.Channel], StubsT],
        options: RpcOptions,
        *,
        net: Net,
        random: Randomness,
    ) -> None:
        """`source` may be a sequence of addresses, `host:port`; `make` gives the stubs on a channel.

        Raises ValueError for what is no address, and for a source that cannot ever tell one: an empty sequence.
        """
        if isinstance(source, Sequence) and not source:
            raise ValueError("there are no addresses")
        source = as_source(source)
        self._make = make
        self._options = options
        self._net = net
        self._random = random
        self._leaving: dict[asyncio.Task[None], grpc.aio.Channel] = {}
        self._is_closed = False
        self._arrived = asyncio.Event()
        self.members: list[Member[StubsT]] = []
        """Those of the present set, in the order of their addresses."""
        self.current: Member[StubsT] | None = None
        """The one to ask; None while nobody is known."""
        self._subscription = source.subscribe(self._changed)
        self._changed(source.current)

    def __len__(self) -> int:
        return len(self.members)

    def leave(self, member: Member[StubsT] | None) -> None:
        """Goes on to the next member, unless another call has done so."""
        if member is not None and self.current is member and self.members:
            place = self.members.index(member) if member in self.members else -1
            self.current = self.members[(place + 1) % len(self.members)]

    def turn_to(self, member: Member[StubsT]) -> None:
        """Makes a member the current one, unless it has left."""
        if member in self.members:
            self.current = member

    async def wait(self) -> Member[StubsT]:
        """The current member, once there is one."""
        while self.current is None:
            self._arrived.clear()
            await self._arrived.wait()
        return self.current

    async def close(self) -> None:
        """Closes all connections."""
        self._is_closed = True
        await self._subscription.close()
        await end_parting(self._leaving)
        for member in self.members:
            await member.channel.close()

    def _changed(self, endpoints: EndpointSet) -> None:
        if self._is_closed or not endpoints.endpoints:
            return
        known = {member.address: member for member in self.members}
        members: list[Member[StubsT]] = []
        for address in endpoints.addresses:
            member = known.pop(address, None)
            if member is None:
                channel = create_channel(address, self._options, net=self._net, random=self._random)
                member = Member(address, channel, self._make(channel))
            members.append(member)
        self.members = members
        if self.current is None or self.current not in members:
            # Clients that hear of the same set at the same time shall not all go to the same member.
            self.current = members[self._random.integer(0, len(members))]
            self._arrived.set()
        for member in known.values():
            task = asyncio.get_running_loop().create_task(part(member.channel, DRAIN_S), name=f"drain/{member.address}")
            self._leaving[task] = member.channel
            task.add_done_callback(self._leaving.pop)
