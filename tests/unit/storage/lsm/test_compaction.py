"""Compactions in another process come to the same as at home."""

import asyncio
import multiprocessing
import os
import signal
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from runtime.real import RealDisk, SystemClock, SystemRandomness
from storage.engine import Corruption
from storage.lsm.compaction import CompactionWorker
from storage.lsm.engine import LsmEngine
from storage.lsm.options import LsmOptions
from storage.merge_operators import Append

OPTIONS = LsmOptions(memtable_bytes_max=1 << 16, level0_tables_compact=2, level1_bytes=100_000, table_bytes_max=50_000)


@pytest.fixture(name="executor")
def one_process() -> "ProcessPoolExecutor":
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


async def open_engine(root: Path, executor: Executor) -> tuple[LsmEngine, RealDisk]:
    disk = RealDisk(str(root))
    worker = CompactionWorker(executor, partial(RealDisk, str(root)), SystemRandomness)
    engine = await LsmEngine.open(
        disk,
        "db",
        clock=SystemClock(),
        random=SystemRandomness(),
        options=OPTIONS,
        operator=Append(),
        worker=worker,
    )
    return engine, disk


async def test_a_worker_compacts_and_when_it_dies_the_engine_does(
    tmp_path: Path, executor: ProcessPoolExecutor
) -> None:
    with executor:
        engine, disk = await open_engine(tmp_path, executor)
        model: dict[bytes, bytes] = {}
        for number in range(6000):
            key = b"%05d" % (number * 7919 % 4001)
            if number == 4000:
                # From here on the engine is on its own.
                for process in list(executor._processes.values()):
                    os.kill(process.pid or 0, signal.SIGKILL)
            engine.merge(key, b"%d," % number)
            model[key] = model.get(key, b"") + b"%d," % number
            await engine.throttle()
        await engine.flush()
        await engine.settle()
        assert dict(engine.scan()) == model
        assert engine.statistics().compactions >= 1
        await engine.close()
        again, _ = await open_engine(tmp_path, executor)
        assert dict(again.scan()) == model
        await again.close()
        disk.close()


async def test_corruption_found_there_is_told_here(tmp_path: Path, executor: ProcessPoolExecutor) -> None:
    with executor:
        engine, disk = await open_engine(tmp_path, executor)
        for number in range(300):
            engine.put(b"%05d" % number, bytes(100))
        await engine.flush()
        path = next((tmp_path / "db").glob("*.table"))
        data = bytearray(path.read_bytes())
        data[1000] ^= 1
        path.write_bytes(data)
        with pytest.raises(Corruption, match=path.name) as found:
            await engine.compact()
        assert found.value.offset >= 0
        async with asyncio.timeout(10):
            await engine.close()
        disk.close()
