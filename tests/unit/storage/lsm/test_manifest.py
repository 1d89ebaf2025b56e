"""Edits are durable in order, the manifest stays small, and damage is either mended by the copy or named."""

import random
from contextlib import suppress

import pytest

from runtime.sim import SeededRandomness, SimDisk
from storage.engine import Corruption
from storage.lsm.catalog import Catalog, CatalogError, Edit, TableMeta
from storage.lsm.manifest import COPY_DIRECTORY, DIRECTORY, Manifest, replace_manifest
from storage.lsm.manifest_reading import read_manifest
from storage.lsm.testing import ManualClock


async def open_manifest(disk: SimDisk) -> Manifest:
    return await Manifest.open(
        disk, "db", clock=ManualClock(), random=SeededRandomness(random.Random(1)), segment_bytes=1000
    )


def meta(number: int) -> TableMeta:
    return TableMeta(
        number=number,
        table_id=number,
        level=0,
        run=number,
        size_bytes=10,
        entries=1,
        low=b"a",
        high=b"b",
        range_deletes=0,
        deletions=0,
        expiring=False,
        created_ms=5,
    )


async def fill(manifest: Manifest, count: int) -> None:
    if manifest.is_new:
        await manifest.append(Edit(whole=True, next_number=1, operator="append"))
    start = manifest.catalog.next_number
    for number in range(start, start + count):
        removed = (number - 3,) if number - 3 in manifest.catalog.tables else ()
        await manifest.append(Edit(added=(meta(number),), removed=removed, next_number=number + 1))


async def test_it_holds_what_was_appended_and_stays_small() -> None:
    disk = SimDisk(random.Random(1))
    manifest = await open_manifest(disk)
    await fill(manifest, 200)
    assert manifest.bytes_total < 5000
    assert sorted(manifest.catalog.tables) == [198, 199, 200]
    disk.crash()
    again = await open_manifest(disk)
    assert again.catalog == manifest.catalog
    assert not again.is_new
    await again.close()
    for directory in (DIRECTORY, COPY_DIRECTORY):
        reading = await read_manifest(disk, f"db/{directory}")
        assert reading.catalog == again.catalog
        assert reading.damage is None
        assert reading.size_bytes < 6000


async def test_an_edit_that_does_not_fit_is_not_written() -> None:
    disk = SimDisk(random.Random(1))
    manifest = await open_manifest(disk)
    await fill(manifest, 2)
    with pytest.raises(CatalogError):
        await manifest.append(Edit(removed=(77,)))
    await manifest.close()
    again = await open_manifest(disk)
    assert sorted(again.catalog.tables) == [1, 2]
    await again.close()


async def test_any_flipped_bit_is_noticed_and_the_copy_has_what_was_lost() -> None:
    source = random.Random(2)
    passed = 0
    for _ in range(60):
        disk = SimDisk(source)
        manifest = await open_manifest(disk)
        await fill(manifest, 12)
        await manifest.close()
        name = source.choice(await disk.list(f"db/{DIRECTORY}"))
        path = f"db/{DIRECTORY}/{name}"
        bit = source.randrange(len(disk.content(path)) * 8)
        disk.flip_bit(path, bit)
        reading = await read_manifest(disk, f"db/{DIRECTORY}")
        assert reading.damage is not None
        copy = await read_manifest(disk, f"db/{COPY_DIRECTORY}")
        assert copy.catalog == manifest.catalog
        with suppress(Corruption):
            again = await open_manifest(disk)
            # The last frame is a mark that says nothing: losing it loses nothing.
            assert again.catalog == manifest.catalog
            await again.close()
            passed += 1
    assert passed < 30, "most bits count"


async def test_a_damaged_copy_is_made_anew() -> None:
    disk = SimDisk(random.Random(1))
    manifest = await open_manifest(disk)
    await fill(manifest, 5)
    await manifest.close()
    name = (await disk.list(f"db/{COPY_DIRECTORY}"))[0]
    disk.flip_bit(f"db/{COPY_DIRECTORY}/{name}", 900)
    again = await open_manifest(disk)
    await again.close()
    reading = await read_manifest(disk, f"db/{COPY_DIRECTORY}")
    assert reading.damage is None
    assert reading.catalog == manifest.catalog


async def test_it_can_be_replaced() -> None:
    disk = SimDisk(random.Random(1))
    manifest = await open_manifest(disk)
    await fill(manifest, 5)
    await manifest.close()
    catalog = Catalog({9: meta(9)}, next_number=10, operator="append")
    await replace_manifest(
        disk, "db", catalog, clock=ManualClock(), random=SeededRandomness(random.Random(3)), segment_bytes=1000
    )
    again = await open_manifest(disk)
    assert again.catalog == catalog
    await again.close()
