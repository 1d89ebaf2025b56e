"""The receiving half of a snapshot transfer: resumable while this process lives, durable before it is announced."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import google_crc32c

from cluster.raft.core.types import MessageKind, SnapshotMeta
from cluster.raft.driver.errors import ReplicaCorrupted
from cluster.raft.driver.snapshots import SnapshotStore
from cluster.raft.driver.transport import GroupMessage, SnapshotChunk, SnapshotReceipt
from runtime import File

SNAPSHOT_BYTES_MAX = 1 << 40
"""The largest snapshot that is taken from a peer."""
CHUNK_BYTES_MAX = 4 << 20
"""The most data in one chunk on the wire."""
TRANSFERS_MAX = 64
"""Half-received snapshots that are kept; beyond, the oldest is given up."""


@dataclass(slots=True)
class _Transfer:
    """A snapshot that has come in part."""

    meta: SnapshotMeta
    total: int
    path: str
    file: File
    received: int = 0
    busy: bool = False


class IncomingSnapshots:
    """Keeps what has arrived of each snapshot, so that a broken stream goes on where it broke."""

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store
        self._transfers: dict[tuple[int, int], _Transfer] = {}

    async def receive(
        self, first: SnapshotChunk, announcement: GroupMessage, rest: AsyncIterator[SnapshotChunk]
    ) -> tuple[SnapshotReceipt, bool]:
        """Takes one stream. Returns the receipt so far, and whether the file is now whole and durable.

        Raises ValueError when the stream breaks the protocol; what was good of it is kept.
        """
        transfer = await self._find(announcement, first.total_bytes)
        if transfer.busy:
            return SnapshotReceipt(transfer.received, False), False
        transfer.busy = True
        try:
            await self._take(transfer, first)
            async for chunk in rest:
                await self._take(transfer, chunk)
            if transfer.received < transfer.total:
                return SnapshotReceipt(transfer.received, False), False
            whole = await self._finish(announcement, transfer)
            return SnapshotReceipt(transfer.received if whole else 0, False), whole
        finally:
            transfer.busy = False

    async def _find(self, announcement: GroupMessage, total: int) -> _Transfer:
        message = announcement.message
        meta = message.snapshot
        if message.kind is not MessageKind.SNAPSHOT or meta is None or not 0 < total <= SNAPSHOT_BYTES_MAX:
            raise ValueError("a snapshot stream must begin with its announcement")
        key = (announcement.group, message.source)
        transfer = self._transfers.get(key)
        if transfer is not None and (transfer.meta, transfer.total) == (meta, total):
            return transfer
        if transfer is not None and transfer.busy:
            return transfer
        if transfer is not None:
            await self._drop(key)
        while len(self._transfers) >= TRANSFERS_MAX:
            await self._drop(next(iter(self._transfers)))
        path, file = await self._store.create_part(announcement.group, meta, message.source)
        transfer = self._transfers[key] = _Transfer(meta, total, path, file)
        return transfer

    async def _take(self, transfer: _Transfer, chunk: SnapshotChunk) -> None:
        if not chunk.data:
            return
        if chunk.offset != transfer.received:
            raise ValueError(f"a chunk at {chunk.offset} where {transfer.received} was expected")
        if len(chunk.data) > CHUNK_BYTES_MAX or chunk.offset + len(chunk.data) > transfer.total:
            raise ValueError(f"a chunk of {len(chunk.data)} bytes at {chunk.offset} of {transfer.total}")
        if google_crc32c.value(chunk.data) != chunk.crc:
            raise ValueError(f"the chunk at {chunk.offset} was damaged on its way")
        await transfer.file.pwrite([chunk.data], chunk.offset)
        transfer.received += len(chunk.data)

    async def _finish(self, announcement: GroupMessage, transfer: _Transfer) -> bool:
        """Checks, syncs and publishes. A file that is not what it claims is thrown away: the leader starts over."""
        group, message = announcement
        del self._transfers[(group, message.source)]
        await transfer.file.sync()
        await transfer.file.close()
        try:
            await self._store.verify(transfer.path, group, transfer.meta)
        except ReplicaCorrupted:
            await self._store.remove_part(transfer.path)
            return False
        await self._store.publish(group, transfer.path, transfer.meta)
        return True

    async def _drop(self, key: tuple[int, int]) -> None:
        transfer = self._transfers.pop(key)
        await transfer.file.close()
        await self._store.remove_part(transfer.path)
