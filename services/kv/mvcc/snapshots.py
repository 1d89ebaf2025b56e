"""The whole state as a stream of frames, and back. See proto/orrery/kv/v1/snapshot.proto for the format.

A snapshot shows one moment while commands go on being applied: the engine gives a snapshot of the records, compaction
is pinned so that the index can still tell which of them are logically there, and what else there is (leases, members)
is small and copied at once. Two replicas in the same logical state write the same bytes, however far each has come
with removing its garbage.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from struct import Struct

from google.protobuf.message import DecodeError

from cluster.pb.orrery.kv.v1.command_pb2 import MemberAttributes
from cluster.pb.orrery.kv.v1.snapshot_pb2 import (
    LeaseTable as LeaseTableMessage,
)
from cluster.pb.orrery.kv.v1.snapshot_pb2 import (
    MemberTable,
    Revisions,
    SnapshotFrame,
    SnapshotHeader,
    SnapshotTrailer,
)
from services.kv.mvcc.leases import TTL_MAX_S, Lease, LeaseTable
from services.kv.mvcc.revision import is_record_key, lower_bound
from services.kv.mvcc.store import Records, Store

FORMAT_VERSION = 1
FRAME_BYTES_TARGET = 256 * 1024
"""A frame is closed when it holds this much; one record may be larger."""
FRAME_BYTES_MAX = 64 * 1024 * 1024
"""A longer frame is not one of ours."""
LEASES_PER_FRAME = 4096
RECORD_COST_BYTES = 100
"""Added to the length of each record when a frame is measured, so that a frame of tiny ones is quick to make, too."""

_LENGTH = Struct(">I")


def write_snapshot(store: Store, members: Mapping[int, MemberAttributes]) -> Iterator[bytes]:
    """Chunks of the state as of this call. They must be taken to the end, or the iterator closed."""
    frames = [
        SnapshotFrame(
            header=SnapshotHeader(
                version=FORMAT_VERSION,
                revision=store.revision,
                compact_revision=store.compact_revision,
                lessor_epoch=store.leases.epoch,
            )
        )
    ]
    leases = [
        LeaseTableMessage.Lease(id=lease.id, ttl_s=lease.ttl_s, remaining_ttl_s=lease.remaining_ttl_s)
        for lease in store.leases
    ]
    frames.extend(
        SnapshotFrame(leases=LeaseTableMessage(leases=leases[start : start + LEASES_PER_FRAME]))
        for start in range(0, len(leases), LEASES_PER_FRAME)
    )
    if members:
        frames.append(SnapshotFrame(members=MemberTable(members=[members[number] for number in sorted(members)])))
    # The parts that must be taken now are taken here, not when the first chunk is asked for.
    store.pin()
    return _Chunks(store, _frames(store, frames, len(leases), len(members)))


class _Chunks(Iterator[bytes]):
    """The chunks, and the duty to unpin exactly once: even a generator that never ran would skip its `finally`."""

    def __init__(self, store: Store, frames: Iterator[SnapshotFrame]) -> None:
        self._store: Store | None = store
        self._snapshot_frames = frames

    def __next__(self) -> bytes:
        try:
            frame = next(self._snapshot_frames)
        except StopIteration:
            self.close()
            raise
        data = frame.SerializeToString()
        return _LENGTH.pack(len(data)) + data

    def close(self) -> None:
        """Lets compaction go on. Closing twice is harmless."""
        if self._store is not None:
            self._store.unpin()
            self._store = None
            self._snapshot_frames = iter(())

    def __del__(self) -> None:
        self.close()


def _frames(store: Store, first: list[SnapshotFrame], leases: int, members: int) -> Iterator[SnapshotFrame]:
    compact_revision = store.compact_revision
    snapshot = store.engine.snapshot()

    def generate() -> Iterator[SnapshotFrame]:
        yield from first
        revisions = 0
        size = 0
        frame = Revisions()
        for key, record in snapshot.scan():
            if not store.is_kept(key, record, compact_revision):
                continue
            frame.keys.append(key)
            frame.values.append(record)
            revisions += 1
            size += len(record) + RECORD_COST_BYTES
            if size >= FRAME_BYTES_TARGET:
                yield SnapshotFrame(revisions=frame)
                frame = Revisions()
                size = 0
        if frame.keys:
            yield SnapshotFrame(revisions=frame)
        yield SnapshotFrame(trailer=SnapshotTrailer(revisions=revisions, leases=leases, members=members))
        snapshot.close()

    return generate()


class SnapshotReader:
    """Builds a new store from the bytes of a snapshot, however they are cut. Raises ValueError when they are not one.

    Nothing outside is touched: whoever reads puts the result in place when `finish` has returned it.
    """

    def __init__(self, engine: Records) -> None:
        self._store = Store(engine, LeaseTable())
        self._members: dict[int, MemberAttributes] = {}
        self._buffer = bytearray()
        self._revisions = 0
        self._started = False
        self._complete = False

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        buffer = self._buffer
        buffer += chunk
        while len(buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer)
            if length > FRAME_BYTES_MAX:
                raise ValueError("a frame of the snapshot is too long")
            if len(buffer) < _LENGTH.size + length:
                return
            data = bytes(buffer[_LENGTH.size : _LENGTH.size + length])
            del buffer[: _LENGTH.size + length]
            try:
                self._take(SnapshotFrame.FromString(data))
            except DecodeError as error:
                raise ValueError("a frame of the snapshot cannot be decoded") from error

    def finish(self) -> tuple[Store, dict[int, MemberAttributes]]:
        """The store and the members, after the last chunk."""
        if not self._complete or self._buffer:
            raise ValueError("the snapshot is cut off")
        self._store.attach_leases()
        return self._store, self._members

    def _take(self, frame: SnapshotFrame) -> None:
        part = frame.WhichOneof("part")
        if self._complete or (part == "header") == self._started:
            raise ValueError(f"a snapshot's frame in the wrong place: {part}")
        if part == "header":
            self._take_header(frame.header)
        elif part == "leases":
            for lease in frame.leases.leases:
                if lease.id == 0 or lease.ttl_s > TTL_MAX_S or self._store.leases.get(lease.id) is not None:
                    raise ValueError("a lease that cannot be")
                self._store.leases.add(Lease(lease.id, lease.ttl_s, lease.remaining_ttl_s))
        elif part == "members":
            for member in frame.members.members:
                self._members[member.id] = member
        elif part == "revisions":
            self._take_revisions(frame.revisions)
        elif part == "trailer":
            found = (self._revisions, len(self._store.leases), len(self._members))
            if found != (frame.trailer.revisions, frame.trailer.leases, frame.trailer.members):
                raise ValueError("the snapshot does not hold what its trailer says")
            self._complete = True

    def _take_header(self, header: SnapshotHeader) -> None:
        if header.version != FORMAT_VERSION:
            raise ValueError(f"snapshot format {header.version} is not known here")
        if header.revision < 1 or not -1 <= header.compact_revision <= header.revision:
            raise ValueError("the snapshot's revisions cannot be")
        self._started = True
        self._store.load(header.revision, header.compact_revision)
        self._store.leases.epoch = header.lessor_epoch

    def _take_revisions(self, revisions: Revisions) -> None:
        if len(revisions.keys) != len(revisions.values):
            raise ValueError("keys and values of a frame do not match")
        for key, record in zip(revisions.keys, revisions.values, strict=True):
            if not is_record_key(key) or key < lower_bound(1):
                raise ValueError("a record under a key that is none")
            self._store.load_record(key, record)
            self._revisions += 1


async def read_snapshot(engine: Records, chunks: AsyncIterator[bytes]) -> tuple[Store, dict[int, MemberAttributes]]:
    """A new store, in `engine` (an empty one), from a snapshot. Raises ValueError."""
    reader = SnapshotReader(engine)
    async for chunk in chunks:
        reader.feed(chunk)
    return reader.finish()
