"""Any flipped bit of any file is found by `verify_engine`, never returned as data, and costs only what is near it."""

import random
from contextlib import suppress

import pytest

from runtime.sim import SeededRandomness, SimDisk
from storage.engine import Corruption
from storage.lsm.engine import LsmEngine
from storage.lsm.options import LsmOptions
from storage.lsm.repair import repair_engine, verify_engine
from storage.lsm.testing import ManualClock

OPTIONS = LsmOptions(memtable_bytes_max=1 << 20, block_bytes=512, table_bytes_max=4000, level0_tables_compact=4)
CONTENT = {b"%05d" % number: b"value %d" % number * 3 for number in range(600)}


async def open_engine(disk: SimDisk) -> LsmEngine:
    return await LsmEngine.open(
        disk, "db", clock=ManualClock(), random=SeededRandomness(random.Random(1)), options=OPTIONS
    )


async def repair(disk: SimDisk) -> list[str]:
    report = await repair_engine(
        disk, "db", clock=ManualClock(), random=SeededRandomness(random.Random(9)), options=OPTIONS
    )
    return report.rewritten + report.dropped


async def new_disk(source: random.Random) -> SimDisk:
    disk = SimDisk(source)
    engine = await open_engine(disk)
    items = list(CONTENT.items())
    for start in range(0, len(items), 200):
        for key, value in items[start : start + 200]:
            engine.put(key, value)
        await engine.flush()
    await engine.close()
    return disk


async def files(disk: SimDisk) -> list[str]:
    names = [f"db/{name}" for name in await disk.list("db") if name.endswith(".table")]
    for directory in ("db/manifest", "db/manifest-copy"):
        names += [f"{directory}/{name}" for name in await disk.list(directory)]
    return names


async def test_a_whole_engine_is_whole() -> None:
    disk = await new_disk(random.Random(1))
    report = await verify_engine(disk, "db")
    assert report.whole
    assert sum(table.keys for table in report.tables) == len(CONTENT)
    assert await repair(disk) == []


async def test_any_flipped_bit_is_found_and_repair_keeps_the_rest() -> None:
    source = random.Random(6)
    for _ in range(40):
        disk = await new_disk(source)
        path = source.choice(await files(disk))
        disk.flip_bit(path, source.randrange(len(disk.content(path)) * 8))
        assert not (await verify_engine(disk, "db")).whole
        with suppress(Corruption):
            engine = await open_engine(disk)
            try:
                for key, value in CONTENT.items():
                    with suppress(Corruption):
                        assert engine.get(key) == value
            finally:
                await engine.close()
        await repair(disk)
        engine = await open_engine(disk)
        found = dict(engine.scan())
        assert found.items() <= CONTENT.items()
        assert len(found) > len(CONTENT) * 0.8, "a bit costs a block, not a table"
        engine.put(b"new", b"1")
        await engine.flush()
        await engine.close()
        assert (await verify_engine(disk, "db")).whole


async def test_a_missing_table_is_named_and_given_up() -> None:
    disk = await new_disk(random.Random(1))
    name = next(name for name in await disk.list("db") if name.endswith(".table"))
    await disk.remove(f"db/{name}")
    with pytest.raises(Corruption, match="missing"):
        await open_engine(disk)
    assert (await verify_engine(disk, "db")).missing == [name]
    assert await repair(disk) == [name]
    engine = await open_engine(disk)
    assert 300 < len(list(engine.scan())) < len(CONTENT)
    await engine.close()


async def test_without_both_manifests_nothing_is_guessed() -> None:
    disk = await new_disk(random.Random(1))
    for directory in ("db/manifest", "db/manifest-copy"):
        for name in await disk.list(directory):
            await disk.remove(f"{directory}/{name}")
    with pytest.raises(Corruption, match="neither"):
        await repair(disk)


async def test_power_lost_during_a_repair_leaves_something_to_repair() -> None:
    number = 0
    while True:
        number += 1
        disk = await new_disk(random.Random(number))
        path = (await files(disk))[0]
        disk.flip_bit(path, 4000)
        disk.power_lost_at = disk.operations + number * 3
        try:
            await repair(disk)
        except OSError:
            disk.crash()
        else:
            break
        await repair(disk)
        engine = await open_engine(disk)
        assert len(list(engine.scan())) > len(CONTENT) * 0.8
        await engine.close()
    assert number > 5
