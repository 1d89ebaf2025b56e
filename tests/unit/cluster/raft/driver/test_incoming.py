"""What a peer streams as a snapshot: taken when right, refused when not, resumed where it broke."""

import random
from collections.abc import AsyncIterator

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.raft.core.types import Configuration, Message, MessageKind, SnapshotMeta
from cluster.raft.driver import GroupMessage, SnapshotChunk
from cluster.raft.driver.incoming import IncomingSnapshots
from cluster.raft.driver.snapshots import SnapshotStore
from runtime.sim import SimDisk

META = SnapshotMeta(42, 3, Configuration(voters=frozenset({1, 2})))
ANNOUNCEMENT = GroupMessage(9, Message(MessageKind.SNAPSHOT, 1, 2, 5, snapshot=META))


async def make() -> tuple[SimDisk, SnapshotStore, IncomingSnapshots, bytes]:
    """A receiver, and the bytes of a good file."""
    disk = SimDisk(random.Random(1))
    await disk.make_directory("s")
    await disk.sync_directory(".")
    store = SnapshotStore(disk, "s")
    await store.prepare(9, SnapshotMeta())
    await store.write(9, META, [b"hello", b"world" * 100])
    content = disk.content(store.path(9, META))
    await store.prepare(9, SnapshotMeta())
    return disk, store, IncomingSnapshots(store), content


def chunk(data: bytes, offset: int, *, total: int = 0, first: bool = False) -> SnapshotChunk:
    return SnapshotChunk(ANNOUNCEMENT if first else None, total, offset, data, google_crc32c.value(data))


async def stream(*chunks: SnapshotChunk) -> AsyncIterator[SnapshotChunk]:
    for each in chunks:
        yield each


async def test_resumes_after_a_probe_and_publishes_durably() -> None:
    disk, store, incoming, content = await make()
    total = len(content)
    receipt, whole = await incoming.receive(
        chunk(content[:100], 0, total=total, first=True), ANNOUNCEMENT, stream(chunk(content[100:150], 100))
    )
    assert (receipt.received_bytes, whole) == (150, False)
    receipt, whole = await incoming.receive(chunk(b"", 0, total=total, first=True), ANNOUNCEMENT, stream())
    assert (receipt.received_bytes, whole) == (150, False)
    receipt, whole = await incoming.receive(chunk(content[150:], 150, total=total, first=True), ANNOUNCEMENT, stream())
    assert whole
    disk.crash()
    await store.verify(store.path(9, META), 9, META)


@pytest.mark.parametrize(
    "bad",
    [
        chunk(b"x", 5, total=100, first=True),
        chunk(b"x" * 200, 0, total=100, first=True),
        chunk(b"x", 0, total=100, first=True)._replace(crc=1),
        chunk(b"x", 0, total=0, first=True),
        chunk(b"x", 0, total=1 << 60, first=True),
    ],
    ids=["gap", "too long", "crc", "empty", "huge"],
)
async def test_refuses_what_breaks_the_protocol(bad: SnapshotChunk) -> None:
    _, _, incoming, _ = await make()
    with pytest.raises(ValueError):
        await incoming.receive(bad, ANNOUNCEMENT, stream())


async def test_a_whole_file_that_is_not_a_snapshot_is_thrown_away() -> None:
    disk, _, incoming, content = await make()
    junk = bytes([content[0] ^ 1]) + content[1:]
    receipt, whole = await incoming.receive(chunk(junk, 0, total=len(junk), first=True), ANNOUNCEMENT, stream())
    assert not whole
    assert receipt.received_bytes == 0
    assert await disk.list("s/9") == []


@settings(max_examples=60)
@given(st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 60), st.booleans(), st.integers(0, 80)), min_size=1))
async def test_any_stream_is_taken_or_refused(parts: list[tuple[bytes, int, bool, int]]) -> None:
    _, _, incoming, _ = await make()
    chunks: list[SnapshotChunk] = []
    for data, offset, good, total in parts:
        each = chunk(data, offset, total=total, first=not chunks)
        chunks.append(each if good else each._replace(crc=each.crc ^ 1))
    try:
        _, whole = await incoming.receive(chunks[0], ANNOUNCEMENT, stream(*chunks[1:]))
    except ValueError:
        return
    assert not whole
