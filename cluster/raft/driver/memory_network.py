"""A network between hosts of one process, for tests: deterministic, and as bad as it is told to be.

    network = InMemoryNetwork()
    host = await RaftHost.open(..., transport=network.transport(1))
    network.cut(1, 2)                  # what 1 sends to 2 is lost
    network.partition({1}, {2, 3})     # nothing passes between the sets
    network.heal()
    network.lose = lambda source, target, message: message.kind is MessageKind.APPEND
    network.delay_s = 0.01

Messages between two hosts arrive in order, on a later turn of the event loop and never within `send`, so a loop with
virtual time and a fixed order of callbacks gives the same run each time. Objects are handed over as they are: nothing
is encoded, so what this network carries shows nothing about the wire format.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence

from cluster.raft.core.types import MessageKind
from cluster.raft.driver.errors import HostStopped
from cluster.raft.driver.snapshot_stream import stream_snapshot
from cluster.raft.driver.transport import (
    GroupMessage,
    PeerCounters,
    Receiver,
    SnapshotChunk,
    SnapshotReader,
    SnapshotReceipt,
)


class InMemoryNetwork:
    """The links between all hosts of a test."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        """How long every message travels, in seconds of the loop's clock."""
        self.lose: Callable[[int, int, GroupMessage], bool] | None = None
        """Decides for each message (source, target, message) whether it is lost."""
        self.repeat: Callable[[int, int, GroupMessage], bool] | None = None
        """Decides for each message whether it arrives twice."""
        self.break_snapshots_after_bytes: int | None = None
        """When set, every snapshot stream breaks once it has carried this much data."""
        self.snapshot_bytes = 0
        """Data that snapshot streams carried in all."""
        self.delivered: defaultdict[MessageKind, int] = defaultdict(int)
        """How many messages of each kind arrived."""
        self._receivers: dict[int, Receiver] = {}
        self._cuts: set[tuple[int, int]] = set()
        self._transports: dict[int, InMemoryTransport] = {}

    def transport(self, member: int) -> "InMemoryTransport":
        """A new transport for a host, which replaces the one of the member's earlier life."""
        self._receivers.pop(member, None)
        self._transports[member] = InMemoryTransport(self, member)
        return self._transports[member]

    def cut(self, source: int, target: int) -> None:
        """Loses everything from `source` to `target` from now on; the other direction stays."""
        self._cuts.add((source, target))

    def partition(self, *sides: Collection[int]) -> None:
        """Cuts every link between members of different sides, both ways."""
        for number, side in enumerate(sides):
            for other in sides[number + 1 :]:
                for a in side:
                    for b in other:
                        self._cuts.update(((a, b), (b, a)))

    def heal(self) -> None:
        """Mends every cut."""
        self._cuts.clear()

    def detach(self, member: int) -> None:
        """Takes a host off the network, as a crash does."""
        self._receivers.pop(member, None)

    def attach(self, member: int, receiver: Receiver) -> None:
        """Puts a host on the network."""
        self._receivers[member] = receiver

    def connected(self, source: int, target: int) -> bool:
        """Whether messages pass from `source` to `target`."""
        return target in self._receivers and source in self._receivers and (source, target) not in self._cuts

    def carry(self, source: int, target: int, messages: Sequence[GroupMessage]) -> bool:
        """Takes a batch on its way. Returns False when there is no link."""
        if not self.connected(source, target):
            return False
        if self.lose is not None or self.repeat is not None:
            messages = [copy for message in messages for copy in self._fate(source, target, message)]
        loop = asyncio.get_running_loop()
        if self.delay_s > 0:
            loop.call_later(self.delay_s, self._arrive, source, target, messages)
        else:
            loop.call_soon(self._arrive, source, target, messages)
        return True

    async def carry_snapshot(self, source: int, target: int, chunks: AsyncIterator[SnapshotChunk]) -> SnapshotReceipt:
        """Carries one snapshot stream. Raises ConnectionError when there is no link or it breaks."""
        if not self.connected(source, target) or not self.connected(target, source):
            raise ConnectionError(f"no link from {source} to {target}")
        try:
            return await self._receivers[target].receive_snapshot(self._fragile(source, target, chunks))
        except (ValueError, OSError, HostStopped) as error:
            # The sender only ever sees that the stream broke, as over a real network.
            raise ConnectionError(str(error)) from error

    async def _fragile(
        self, source: int, target: int, chunks: AsyncIterator[SnapshotChunk]
    ) -> AsyncIterator[SnapshotChunk]:
        carried = 0
        async for chunk in chunks:
            limit = self.break_snapshots_after_bytes
            if limit is not None and carried + len(chunk.data) > limit:
                raise ConnectionError("the stream broke, as told")
            await asyncio.sleep(self.delay_s)
            if not self.connected(source, target):
                raise ConnectionError(f"no link from {source} to {target}")
            carried += len(chunk.data)
            self.snapshot_bytes += len(chunk.data)
            yield chunk

    def _fate(self, source: int, target: int, message: GroupMessage) -> list[GroupMessage]:
        if self.lose is not None and self.lose(source, target, message):
            return []
        if self.repeat is not None and self.repeat(source, target, message):
            return [message, message]
        return [message]

    def _arrive(self, source: int, target: int, messages: Sequence[GroupMessage]) -> None:
        if not messages or not self.connected(source, target):
            return
        for _, message in messages:
            self.delivered[message.kind] += 1
        self._receivers[target].receive(messages)


class InMemoryTransport:
    """One host's end of the network; a PeerTransport."""

    def __init__(self, network: InMemoryNetwork, member: int) -> None:
        self._network = network
        self._member = member
        self._receiver: Receiver | None = None
        self.counters: defaultdict[int, PeerCounters] = defaultdict(PeerCounters)
        """By peer."""

    def attach(self, receiver: Receiver) -> None:
        """See PeerTransport. The host is on the network from `run` on."""
        self._receiver = receiver

    def send(self, target: int, messages: Sequence[GroupMessage]) -> None:
        """See PeerTransport."""
        counters = self.counters[target]
        counters.batches_sent += 1
        counters.messages_sent += len(messages)
        if not self._network.carry(self._member, target, messages) and self._receiver is not None:
            counters.dropped_disconnected += len(messages)
            self._receiver.unreachable(target)

    async def send_snapshot(self, target: int, announcement: GroupMessage, source: SnapshotReader) -> bool:
        """See PeerTransport."""

        async def open_stream(chunks: AsyncIterator[SnapshotChunk]) -> SnapshotReceipt:
            return await self._network.carry_snapshot(self._member, target, chunks)

        installed = await stream_snapshot(open_stream, announcement, source, retry_pause_s=0.0)
        counters = self.counters[target]
        counters.snapshots_sent += installed
        counters.snapshots_failed += not installed
        return installed

    async def run(self) -> None:
        """See PeerTransport."""
        if self._receiver is None:
            raise RuntimeError("attach comes before run")
        self._network.attach(self._member, self._receiver)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._network.detach(self._member)
