"""The sending half of a snapshot transfer, the same on every transport.

Every attempt first asks the target how much it holds (an announcement without data), then sends the rest.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import google_crc32c

from cluster.raft.driver.transport import GroupMessage, SnapshotChunk, SnapshotReader, SnapshotReceipt

STREAM_CHUNK_BYTES = 256 << 10
"""Data in one chunk on the wire."""
ATTEMPTS_MAX = 5
"""Streams that may break without having moved anything before the transfer is given up."""

OpenStream = Callable[[AsyncIterator[SnapshotChunk]], Awaitable[SnapshotReceipt]]
"""Sends one stream of chunks and returns the receipt. Raises ConnectionError when the stream breaks."""


async def stream_snapshot(
    open_stream: OpenStream, announcement: GroupMessage, source: SnapshotReader, *, retry_pause_s: float = 0.1
) -> bool:
    """Returns whether the target installed the snapshot."""
    failures = 0
    held_before = 0
    while failures < ATTEMPTS_MAX:
        try:
            receipt = await open_stream(_probe(announcement, source.size))
            held = receipt.received_bytes
            if not receipt.installed and held <= source.size:
                receipt = await open_stream(_rest(announcement, source, held))
            if receipt.installed:
                return True
        except ConnectionError:
            held = held_before
        failures = 0 if held > held_before else failures + 1
        held_before = max(held, held_before)
        await asyncio.sleep(retry_pause_s)
    return False


async def _probe(announcement: GroupMessage, total: int) -> AsyncIterator[SnapshotChunk]:
    yield SnapshotChunk(announcement, total, 0, b"", 0)


async def _rest(announcement: GroupMessage, source: SnapshotReader, offset: int) -> AsyncIterator[SnapshotChunk]:
    first: GroupMessage | None = announcement
    while offset < source.size or first is not None:
        data = await source.read(STREAM_CHUNK_BYTES, offset)
        yield SnapshotChunk(first, source.size if first else 0, offset, data, google_crc32c.value(data))
        if not data:
            return
        first = None
        offset += len(data)
