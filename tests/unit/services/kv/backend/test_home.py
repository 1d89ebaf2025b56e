"""Which engine counts, whenever the power goes while another takes its place."""

import random

import pytest

from runtime.sim import SimDisk
from services.kv.backend.home import EngineHome
from storage.btree import BTreeEngine
from storage.engine import DurableEngine

CONTENT = [(b"a", b"old")]
REPLACED = [(b"a", b"new"), (b"b", b"new")]


async def open_home(disk: SimDisk) -> EngineHome:
    async def open_engine(path: str) -> DurableEngine:
        return await BTreeEngine.open(disk, path)

    return await EngineHome.open(disk, "state", open_engine)


async def replace(home: EngineHome) -> None:
    fresh = await home.fresh()
    assert list(fresh.scan()) == []
    for key, value in REPLACED:
        fresh.put(key, value)
    await fresh.flush()
    await home.adopt()


async def prepared(seed: int) -> SimDisk:
    disk = SimDisk(random.Random(seed))
    home = await open_home(disk)
    home.engine.put(b"a", b"old")
    await home.engine.flush()
    await home.close()
    return disk


async def test_a_fresh_engine_takes_the_place_and_the_old_one_is_gone() -> None:
    disk = await prepared(1)
    home = await open_home(disk)
    for _ in range(3):
        await replace(home)
        assert list(home.engine.scan()) == REPLACED
    await home.close()
    home = await open_home(disk)
    assert list(home.engine.scan()) == REPLACED
    assert await disk.list("state/0") == []
    await home.close()


async def test_power_loss_at_every_operation_leaves_the_old_or_the_new() -> None:
    disk = await prepared(1)
    home = await open_home(disk)
    begun = disk.operations
    await replace(home)
    operations = disk.operations - begun
    await home.close()
    seen = set()
    for lost_at in range(1, operations + 1):
        disk = await prepared(lost_at)
        home = await open_home(disk)
        disk.power_lost_at = disk.operations + lost_at
        with pytest.raises(OSError, match="lost its power"):
            await replace(home)
        disk.crash()
        home = await open_home(disk)
        found = list(home.engine.scan())
        assert found in (CONTENT, REPLACED), f"power lost at {lost_at}"
        seen.add(len(found))
        # And it can be replaced again.
        await replace(home)
        assert list(home.engine.scan()) == REPLACED
        await home.close()
    assert seen == {1, 2}


async def test_a_fresh_engine_that_was_never_adopted_is_thrown_away() -> None:
    disk = await prepared(1)
    home = await open_home(disk)
    given_up = await home.fresh()
    given_up.put(b"x", b"y")
    await given_up.flush()
    await replace(home)
    assert list(home.engine.scan()) == REPLACED
    await home.close()


async def test_a_pointer_to_nowhere_is_named() -> None:
    disk = await prepared(1)
    await disk.remove("state/CURRENT")
    disk.put("state/CURRENT", b"../elsewhere")
    with pytest.raises(ValueError, match="state/CURRENT"):
        await open_home(disk)
