"""How hosts talk: what a transport does for a host, and what a host does for its transport.

Two transports keep these promises: `InMemoryNetwork` (tests, simulations) and `GrpcTransport`.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from cluster.raft.core.types import Message


class GroupMessage(NamedTuple):
    """A message, and the group that it belongs to."""

    group: int
    message: Message


class SnapshotChunk(NamedTuple):
    """One piece of a snapshot on its way. The first one of a stream announces, and may carry no data."""

    announcement: GroupMessage | None
    total_bytes: int
    """Size of the whole file; on the first chunk only."""
    offset: int
    data: bytes
    crc: int
    """CRC32C of `data`."""


class SnapshotReceipt(NamedTuple):
    """The receiver's answer when a stream ends."""

    received_bytes: int
    """How much it holds: a broken stream is resumed from here."""
    installed: bool
    """The snapshot is whole, durable, and handed to the group."""


class SnapshotReader(Protocol):
    """A snapshot file from which a transport reads."""

    size: int

    async def read(self, length: int, offset: int) -> bytes:
        """Bytes of the file."""
        ...


@dataclass(slots=True)
class PeerCounters:
    """What a transport counts for each peer. Counts only ever grow."""

    messages_sent: int = 0
    batches_sent: int = 0
    messages_received: int = 0
    dropped_queue_full: int = 0
    """Messages that were not queued because the peer's queue was full."""
    dropped_disconnected: int = 0
    """Messages that were queued when the stream broke."""
    connects: int = 0
    connect_failures: int = 0
    snapshots_sent: int = 0
    snapshots_failed: int = 0
    round_trip_s_last: float = 0.0
    """The newest time between sending a heartbeat and its reply; 0 before the first."""


class Receiver(Protocol):
    """What a host does for its transport. All on the event loop."""

    def receive(self, messages: Sequence[GroupMessage]) -> None:
        """Takes a batch from a peer. Never blocks; drops what it has no room for."""
        ...

    async def receive_snapshot(self, chunks: AsyncIterator[SnapshotChunk]) -> SnapshotReceipt:
        """Takes one snapshot stream. Raises ValueError when it breaks the protocol."""
        ...

    def unreachable(self, member: int) -> None:
        """Messages to `member` were lost."""
        ...


class PeerTransport(Protocol):
    """What a transport does for its host. Messages may be lost, repeated and reordered; they are never altered."""

    def attach(self, receiver: Receiver) -> None:
        """Tells whom to hand what arrives; before `run`."""
        ...

    def send(self, target: int, messages: Sequence[GroupMessage]) -> None:
        """Queues a batch. Never blocks; drops and counts when the peer's queue is full or the peer is unknown."""
        ...

    async def send_snapshot(self, target: int, announcement: GroupMessage, source: SnapshotReader) -> bool:
        """Streams a snapshot, resuming after breaks a bounded number of times. True when the target installed it."""
        ...

    async def run(self) -> None:
        """Keeps the connections up until cancelled."""
        ...
