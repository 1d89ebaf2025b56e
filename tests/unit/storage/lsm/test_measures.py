import random
import re

from runtime.sim import SeededRandomness, SimDisk
from storage.lsm.engine import LsmEngine
from storage.lsm.testing import ManualClock

NAME = re.compile(r"lsm(_[a-z]+)+")


async def test_every_measure_has_a_name_of_its_own_and_counters_grow() -> None:
    engine = await LsmEngine.open(
        SimDisk(random.Random(1)), "db", clock=ManualClock(), random=SeededRandomness(random.Random(1))
    )
    before = {each.name: each for each in engine.measures()}
    assert all(NAME.fullmatch(name) for name in before)
    assert len(before) == len(list(engine.measures()))
    for number in range(1000):
        engine.put(b"%d" % number, b"value")
    await engine.flush()
    assert engine.get(b"1") == b"value"
    assert engine.get(b"2") == b"value"
    assert engine.get(b"absent") is None
    after = {each.name: each for each in engine.measures()}
    assert all(after[name].value >= each.value for name, each in before.items() if each.is_counter)
    assert (after["lsm_table_gets"].value, after["lsm_flushes"].value, after["lsm_tables"].value) == (3, 1, 1)
    assert after["lsm_block_cache_misses"].value + after["lsm_block_cache_hits"].value == 2
    assert after["lsm_filter_rejects"].value == 1
    await engine.close()
