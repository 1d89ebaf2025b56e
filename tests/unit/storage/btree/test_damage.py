"""Any damaged byte in use is found at the read that meets it, named, and costs nothing else.

Method: a file is written, a byte of it is flipped, and everything is read: each key gives its value, or Corruption that
names the file and the page. `verify` must list that page, or when it lists none, the byte was in use by nothing.
"""

import random

import pytest

from runtime.sim import SimDisk
from storage.btree import BTreeEngine
from storage.btree.meta import META_BYTES, META_REGION_BYTES
from storage.btree.verify import Report, verify
from storage.engine import Corruption, WriteBatch
from storage.merge_operators import Append

PAGE = 4096
FILE = "data/pages"


async def written(disk: SimDisk, *, keys: int = 600) -> dict[bytes, bytes]:
    engine = await BTreeEngine.open(disk, "data", operator=Append(), page_bytes=PAGE)
    content = {
        b"key%05d" % number: bytes([number % 256]) * (9000 if number % 97 == 0 else 60) for number in range(keys)
    }
    for commit in range(3):
        for number, (key, value) in enumerate(content.items()):
            if number % 3 == commit:
                engine.put(key, value)
        await engine.flush()
    engine.delete_range(b"key00100", b"key00200")
    content = {key: value for key, value in content.items() if not b"key00100" <= key < b"key00200"}
    await engine.flush()
    await engine.close()
    return content


async def look(disk: SimDisk, content: dict[bytes, bytes]) -> tuple[set[int], int]:
    """The offsets that reads complain of, and how many keys can be read."""
    errors: list[Corruption] = []
    try:
        engine = await BTreeEngine.open(disk, "data", operator=Append(), cache_bytes_max=0)
    except Corruption as error:
        return named([error]), 0
    readable = 0
    for key, value in content.items():
        try:
            found = engine.get(key)
        except Corruption as error:
            errors.append(error)
            continue
        assert found == value
        readable += 1
    seen: list[tuple[bytes, bytes]] = []
    stopped: list[Corruption] = []
    pairs = engine.scan()
    while True:
        try:
            pair = next(pairs, None)
        except Corruption as error:
            stopped.append(error)
            break
        if pair is None:
            break
        seen.append(pair)
    assert seen == sorted(content.items())[: len(seen)]
    assert len(seen) == len(content) or stopped
    assert named(stopped) <= named(errors)
    await engine.close()
    return named(errors), readable


def named(errors: list[Corruption]) -> set[int]:
    """The offsets that errors tell."""
    for error in errors:
        assert error.path == FILE
        assert error.offset < META_REGION_BYTES or f"page {error.offset // PAGE}" in str(error)
    return {error.offset for error in errors}


async def faults(disk: SimDisk) -> set[int]:
    return {fault.offset for fault in (await verify(disk, "data")).faults}


async def test_any_flipped_byte() -> None:
    source = random.Random(5)
    disk = SimDisk(random.Random(1))
    content = await written(disk)
    pages = len(disk.content(FILE)) // PAGE
    whole = await verify(disk, "data")
    assert whole.whole
    state = await in_use(disk)
    found = 0
    for page in range(META_REGION_BYTES // PAGE, pages):
        bit = (page * PAGE + source.randrange(PAGE)) * 8 + source.randrange(8)
        disk.flip_bit(FILE, bit)
        offsets, readable = await look(disk, content)
        listed = await faults(disk)
        disk.flip_bit(FILE, bit)
        if page in state:
            assert listed, f"verify finds the damage of page {page}"
            found += 1
            assert len(offsets) == 1
            (offset,) = offsets
            assert offset in listed
            assert offset // PAGE <= page, "a large value is named by its first page"
            if readable:
                assert readable >= len(content) // 2, "the rest stays readable"
        else:
            assert not offsets or page in await held_by_the_commit_before(disk)
            assert readable in (0, len(content))
    assert found > 20
    assert (await verify(disk, "data")).whole


async def in_use(disk: SimDisk) -> set[int]:
    engine = await BTreeEngine.open(disk, "data", operator=Append())
    state = engine.space.state
    pages = {page for page in range(len(state)) if state[page] == 0}
    await engine.close()
    return pages


async def held_by_the_commit_before(disk: SimDisk) -> set[int]:
    engine = await BTreeEngine.open(disk, "data", operator=Append())
    state = engine.space.state
    pages = {page for page in range(len(state)) if state[page] == 2}
    await engine.close()
    return pages


async def test_a_rotten_copy_of_a_meta_costs_nothing_and_is_told() -> None:
    disk = SimDisk(random.Random(1))
    content = await written(disk)
    for offset in (0, 2048, 4096, 6144):
        bit = (offset + random.Random(offset).randrange(META_BYTES)) * 8
        disk.flip_bit(FILE, bit)
        assert await look(disk, content) == (set(), len(content))
        assert await faults(disk) == {offset}
        engine = await BTreeEngine.open(disk, "data", operator=Append())
        assert [each for each, _why in engine.statistics().damaged_metas] == [offset]
        await engine.close()
        disk.flip_bit(FILE, bit)


async def test_a_meta_that_is_rotten_twice_is_refused() -> None:
    disk = SimDisk(random.Random(1))
    await written(disk)
    for offset in (0, 2048):
        disk.flip_bit(FILE, offset * 8)
    with pytest.raises(Corruption, match="both copies of the meta at offset 0"):
        await BTreeEngine.open(disk, "data", operator=Append())
    assert not (await verify(disk, "data")).whole


async def test_a_write_that_the_disk_lost_is_seen() -> None:
    """The page is whole, has its number and its checksum; and it is an old one."""
    disk = SimDisk(random.Random(1))
    engine = await BTreeEngine.open(disk, "data", page_bytes=PAGE)
    engine.put(b"key", b"old")
    await engine.flush()
    old = disk.content(FILE)
    root = 0
    for value in range(30):
        engine.put(b"key", b"%d" % value)
        await engine.flush()
        root = engine.meta.root
        if root * PAGE < len(old) and old[root * PAGE + 4] == 1:
            break
    await engine.close()
    image = bytearray(disk.content(FILE))
    assert image[root * PAGE : (root + 1) * PAGE] != old[root * PAGE : (root + 1) * PAGE]
    image[root * PAGE : (root + 1) * PAGE] = old[root * PAGE : (root + 1) * PAGE]
    disk.put(FILE, bytes(image))
    with pytest.raises(Corruption, match="a write was lost or misplaced"):
        await BTreeEngine.open(disk, "data")


async def test_a_file_that_is_cut_short() -> None:
    disk = SimDisk(random.Random(1))
    await written(disk)
    content = disk.content(FILE)
    for size in (0, 100, META_REGION_BYTES, len(content) - PAGE):
        disk.put(FILE, content[:size])
        with pytest.raises(Corruption):
            await BTreeEngine.open(disk, "data", operator=Append())
        assert not (await verify(disk, "data")).whole


async def test_a_batch_that_meets_damage_leaves_nothing() -> None:
    disk = SimDisk(random.Random(1))
    content = await written(disk)
    engine = await BTreeEngine.open(disk, "data", operator=Append(), cache_bytes_max=0)
    damaged = await some_leaf(disk, content)
    readable = [key for key, value in content.items() if reads(engine, key, value)]
    lost = sorted(set(content) - set(readable))
    assert readable
    assert lost
    batch = WriteBatch()
    batch.put(b"key00000", b"new")
    batch.delete(readable[5])
    batch.delete_range(b"key00300", lost[0])
    batch.merge(readable[-1], b"more")
    batch.put(lost[0], b"new")
    with pytest.raises(Corruption) as caught:
        engine.write(batch)
    assert caught.value.offset == damaged * PAGE
    plain = WriteBatch()
    for key in content:
        plain.put(key, b"new")
    with pytest.raises(Corruption):
        engine.write(plain)
    for key in (lost[0], lost[-1]):
        with pytest.raises(Corruption):
            engine.put(key, b"new")
        with pytest.raises(Corruption):
            engine.delete(key)
        with pytest.raises(Corruption):
            engine.merge(key, b"new")
    assert all(engine.get(key) == content[key] for key in readable)
    # What does not meet it can be written, beside it, too, and made durable.
    for key in readable:
        engine.delete(key)
    engine.put(b"another", b"one")
    await engine.flush()
    await engine.close()
    engine = await BTreeEngine.open(disk, "data", operator=Append(), cache_bytes_max=0)
    assert [key for key in content if not fails(engine, key) and engine.get(key) is not None] == []
    assert engine.get(b"another") == b"one"


def reads(engine: BTreeEngine, key: bytes, value: bytes) -> bool:
    if fails(engine, key):
        return False
    assert engine.get(key) == value
    return True


def fails(engine: BTreeEngine, key: bytes) -> bool:
    try:
        engine.get(key)
    except Corruption:
        return True
    return False


async def some_leaf(disk: SimDisk, content: dict[bytes, bytes]) -> int:
    """Damages the leaf of a key in the middle, and gives its page."""
    for page in sorted(await in_use(disk)):
        image = disk.content(FILE)
        if image[page * PAGE + 4] != 1 or b"key00400" not in image[page * PAGE : (page + 1) * PAGE]:
            continue
        disk.flip_bit(FILE, (page * PAGE + 1000) * 8)
        return page
    raise AssertionError("there is no such leaf")


async def test_a_whole_file_has_no_faults_and_is_counted() -> None:
    disk = SimDisk(random.Random(1))
    content = await written(disk)
    report: Report = await verify(disk, "data")
    assert report.whole
    assert report.entries == len(content)
    assert report.key_bytes == sum(map(len, content))
    assert report.value_bytes == sum(map(len, content.values()))
    used = report.branch_pages + report.leaf_pages + report.large_pages + report.map_pages
    assert used + report.free_pages + META_REGION_BYTES // PAGE == report.pages
