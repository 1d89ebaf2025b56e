"""Snapshot files: complete and as written, or ReplicaCorrupted with the file's name."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.raft.core.types import Configuration, SnapshotMeta
from cluster.raft.driver import ReplicaCorrupted
from cluster.raft.driver.snapshots import BUFFER_BYTES, SnapshotStore
from runtime.sim import SimDisk

META = SnapshotMeta(42, 3, Configuration(voters=frozenset({1, 2, 3}), learners=frozenset({4})))


async def written(chunks: list[bytes]) -> tuple[SimDisk, SnapshotStore, str, int]:
    disk = SimDisk(random.Random(1))
    await disk.make_directory("s")
    await disk.sync_directory(".")
    store = SnapshotStore(disk, "s")
    await store.prepare(9, SnapshotMeta())
    size = await store.write(9, META, chunks)
    return disk, store, store.path(9, META), size


@pytest.mark.parametrize(
    "chunks", [[], [b"a"], [b"a" * 100, b"b" * BUFFER_BYTES, b"c"], [b"x" * 70_000] * 40], ids=["0", "1", "big", "many"]
)
async def test_reads_back_what_was_written(chunks: list[bytes]) -> None:
    disk, store, path, size = await written(chunks)
    disk.crash()
    assert [chunk async for chunk in store.read(path, 9, META)] == chunks
    assert size == len(disk.content(path))
    source = await store.source(9, META)
    assert source.size == size
    await source.close()


@settings(max_examples=200)
@given(st.data())
async def test_any_flipped_byte_is_found(data: st.DataObject) -> None:
    disk, store, path, size = await written([b"hello", b"world" * 10])
    content = bytearray(disk.content(path))
    content[data.draw(st.integers(0, size - 1))] ^= data.draw(st.integers(1, 255))
    disk.put(path, bytes(content))
    with pytest.raises(ReplicaCorrupted) as caught:
        await store.verify(path, 9, META)
    assert caught.value.file == path


async def test_any_shortened_or_lengthened_file_is_found() -> None:
    disk, store, path, size = await written([b"hello", b"world"])
    content = disk.content(path)
    for length in range(size):
        disk.put(path, content[:length])
        with pytest.raises(ReplicaCorrupted):
            await store.verify(path, 9, META)
    disk.put(path, content + b"\0")
    with pytest.raises(ReplicaCorrupted):
        await store.verify(path, 9, META)


async def test_another_snapshot_is_not_taken_for_this_one() -> None:
    _, store, path, _ = await written([b"hello"])
    for group, meta in ((8, META), (9, META._replace(index=41)), (9, META._replace(configuration=Configuration()))):
        with pytest.raises(ReplicaCorrupted):
            await store.verify(path, group, meta)
    with pytest.raises(ReplicaCorrupted):
        await store.verify("s/9/1-1.snap", 9, META)


async def test_leftovers_are_removed() -> None:
    disk, store, path, _ = await written([b"hello"])
    for name in ("41-3.snap", "50-3.snap", "42-3.snap.tmp", "43-3-2.part"):
        disk.put(f"s/9/{name}", b"junk")
    await store.remove_older(9, META)
    assert await disk.list("s/9") == ["42-3.snap", "42-3.snap.tmp", "43-3-2.part", "50-3.snap"]
    await store.prepare(9, META)
    assert await disk.list("s/9") == ["42-3.snap"]
    await store.verify(path, 9, META)
