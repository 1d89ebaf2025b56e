"""Our engines, driven as a service drives them: on an event loop, with `throttle` between writes."""

import asyncio
import functools
import multiprocessing
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

from bench.storage.driver import Driver, Pairs
from runtime.real import RealDisk, real_runtime
from runtime.real.randomness import SystemRandomness
from storage.btree import BTreeEngine
from storage.engine import WriteBatch
from storage.lsm import LsmEngine, LsmOptions

LOAD_BATCH = 1000


class Ours(Driver):
    """What the engines share."""

    _engine: BTreeEngine | LsmEngine

    def _opened(self) -> None:
        self.put = self._engine.put
        self.get = self._engine.get
        self.throttle = self._engine.throttle  # type: ignore[method-assign]
        self.flush = self._engine.flush  # type: ignore[method-assign]

    async def write(self, pairs: Pairs) -> None:
        batch = WriteBatch()
        put = batch.put
        for key, value in pairs:
            put(key, value)
        self._engine.write(batch)

    async def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        rest = iter(pairs)
        while chunk := list(islice(rest, LOAD_BATCH)):
            await self.write(chunk)
            await self._engine.throttle()

    async def settle(self) -> None:
        await self._engine.flush()

    def scan(self, low: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        return self._engine.scan(low)

    async def _durable(self) -> None:
        await self._engine.flush()

    async def synced_puts(self, writers: int, pairs: Pairs) -> None:
        async def write(mine: Pairs) -> None:
            for key, value in mine:
                self._engine.put(key, value)
                await self._durable()
                await self._engine.throttle()

        await asyncio.gather(*(write(pairs[number::writers]) for number in range(writers)))

    async def close(self) -> None:
        await self._engine.close()


class BTree(Ours):
    """Commits are its group commit."""

    synced = True

    async def open(self, directory: str) -> None:
        parent, name = os.path.split(directory)
        # As much memory as RocksDB's two memtables and cache have.
        self._engine = await BTreeEngine.open(
            RealDisk(parent), name, cache_bytes_max=80 << 20, changed_bytes_max=128 << 20
        )
        self._opened()

    def written(self) -> int | None:
        return self._engine.statistics().bytes_written  # type: ignore[union-attr]  # it is the one that `open` made


class Lsm(Ours):
    """With compactions in a process of their own, where RocksDB has them in threads."""

    def __init__(self, *, wal: bool) -> None:
        self._wal = wal
        self.synced = wal

    async def open(self, directory: str) -> None:
        from storage.lsm.compaction import CompactionWorker

        parent, name = os.path.split(directory)
        runtime = real_runtime(parent)
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        worker = CompactionWorker(self._pool, functools.partial(RealDisk, parent), SystemRandomness)
        self._lsm = self._engine = await LsmEngine.open(
            runtime.disk,
            name,
            clock=runtime.clock,
            random=runtime.random,
            options=LsmOptions(wal=self._wal),
            worker=worker,
        )
        self._opened()
        if self._wal:
            self.flush = self._lsm.sync  # type: ignore[method-assign]

    def written(self) -> int | None:
        counted = self._lsm.statistics()
        # What its log took was counted by nobody; with a log the kernel's count has it.
        return None if self._wal else counted.flushed_bytes + counted.compaction_written_bytes

    async def settle(self) -> None:
        await self._lsm.flush()
        await self._lsm.settle()

    async def _durable(self) -> None:
        await self._lsm.sync()

    async def close(self) -> None:
        await super().close()
        self._pool.shutdown()


class Floor(Driver):
    """A dict, sorted when a scan asks for it: what Python does at no durability at all."""

    synced = False

    async def open(self, directory: str) -> None:
        os.makedirs(directory, exist_ok=True)
        self._map: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self.put = self._map.__setitem__
        self.get = self._map.get

    async def write(self, pairs: Pairs) -> None:
        self._map.update(pairs)

    async def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._map.update(pairs)

    async def throttle(self) -> None:
        return

    async def flush(self) -> None:
        return

    async def settle(self) -> None:
        return

    def written(self) -> int | None:
        return None

    def scan(self, low: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        if len(self._keys) != len(self._map):
            self._keys = sorted(self._map)
        keys, values = self._keys, self._map
        start = 0 if low is None else bisect_left(keys, low)
        return ((keys[number], values[keys[number]]) for number in range(start, len(keys)))

    async def close(self) -> None:
        return


def driver(name: str) -> Driver:
    if name == "dict":
        return Floor()
    if name == "btree":
        return BTree()
    return Lsm(wal=name == "lsm+wal")
