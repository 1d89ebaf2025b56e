"""The peers, by their Python packages. Runs in their environment (build/peers), without the product."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import lmdb
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    SstFileWriter,
    WriteBatch,
    WriteOptions,
)

from bench.storage.driver import Driver, Pairs

CACHE_BYTES = 80 << 20
"""As much as ours have: 64 MiB of blocks and 16 of rows."""
BLOOM_BITS = 10
BACKGROUND_JOBS = 2
LMDB_MAP_BYTES = 64 << 30
LMDB_LOAD_BATCH = 10_000


class Rocks(Driver):
    """RocksDB in raw mode: keys and values are bytes, as ours are."""

    def __init__(self, *, wal: bool) -> None:
        self._wal = wal
        self.synced = wal

    def _options(self) -> Options:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_compression_type(DBCompressionType.none())
        options.set_max_background_jobs(BACKGROUND_JOBS)
        table = BlockBasedOptions()
        table.set_block_cache(Cache(CACHE_BYTES))
        table.set_bloom_filter(BLOOM_BITS, False)
        options.set_block_based_table_factory(table)
        return options

    async def open(self, directory: str) -> None:
        self._directory = directory
        self._db = Rdict(directory, self._options())
        unsynced = WriteOptions()
        unsynced.disable_wal = not self._wal
        self._db.set_write_options(unsynced)
        self.put = self._db.put
        self.get = self._db.get

    async def write(self, pairs: Pairs) -> None:
        batch = WriteBatch(raw_mode=True)
        put = batch.put
        for key, value in pairs:
            put(key, value)
        self._db.write(batch)

    async def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        path = f"{self._directory}.sst"
        writer = SstFileWriter(options=self._options())
        writer.open(path)
        for key, value in pairs:
            writer[key] = value
        writer.finish()
        self._db.ingest_external_file([path])
        Path(path).unlink(missing_ok=True)

    async def throttle(self) -> None:
        return

    async def flush(self) -> None:
        if self._wal:
            self._db.flush_wal(True)
        else:
            self._db.flush(True)

    async def settle(self) -> None:
        self._db.flush(True)
        while any(
            self._db.property_int_value(f"rocksdb.{name}")
            for name in ("num-running-compactions", "num-running-flushes", "compaction-pending")
        ):
            pass

    def written(self) -> int | None:
        return None

    def scan(self, low: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._db.items() if low is None else self._db.items(from_key=low))

    async def synced_puts(self, writers: int, pairs: Pairs) -> None:
        """The binding holds the interpreter's lock while it writes, so RocksDB never sees two writers at once, and 64
        threads get a sync each. What it could do at best is one batch of what all writers wait for; that is measured.
        """
        options = WriteOptions()
        options.sync = True
        for start in range(0, len(pairs), writers):
            batch = WriteBatch(raw_mode=True)
            for key, value in pairs[start : start + writers]:
                batch.put(key, value)
            self._db.write(batch, options)

    async def close(self) -> None:
        self._db.close()


class Lmdb(Driver):
    """LMDB: each put is a transaction."""

    synced = True

    def __init__(self) -> None:
        self._reader: lmdb.Transaction | None = None

    async def open(self, directory: str) -> None:
        Path(directory).mkdir(parents=True, exist_ok=True)
        self._environment = lmdb.open(directory, map_size=LMDB_MAP_BYTES, sync=False, metasync=False, max_readers=256)

    def put(self, key: bytes, value: bytes) -> None:  # type: ignore[override]
        with self._environment.begin(write=True) as transaction:
            transaction.put(key, value)

    def get(self, key: bytes) -> bytes | None:  # type: ignore[override]
        # A reader that stays open, which is LMDB's fastest; writes make it old.
        if self._reader is None:
            self._reader = self._environment.begin()
        return self._reader.get(key)

    def _end_reader(self) -> None:
        if self._reader is not None:
            self._reader.abort()
            self._reader = None

    async def write(self, pairs: Pairs) -> None:
        with self._environment.begin(write=True) as transaction:
            with transaction.cursor() as cursor:
                cursor.putmulti(pairs)

    async def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        rest = iter(pairs)
        while batch := list(islice(rest, LMDB_LOAD_BATCH)):
            with self._environment.begin(write=True) as transaction:
                with transaction.cursor() as cursor:
                    cursor.putmulti(batch, append=True)

    async def throttle(self) -> None:
        return

    async def flush(self) -> None:
        self._environment.sync(True)

    async def settle(self) -> None:
        self._environment.sync(True)

    def written(self) -> int | None:
        return None

    def scan(self, low: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        if self._reader is None:
            self._reader = self._environment.begin()
        cursor = self._reader.cursor()
        if low is None:
            cursor.first()
        else:
            cursor.set_range(low)
        return iter(cursor.iternext(keys=True, values=True))

    async def synced_puts(self, writers: int, pairs: Pairs) -> None:
        """One transaction and one sync for what all writers wait for, as for RocksDB: the best that it can do."""
        for start in range(0, len(pairs), writers):
            await self.write(pairs[start : start + writers])
            self._environment.sync(True)

    async def close(self) -> None:
        self._end_reader()
        self._environment.close()


def driver(name: str) -> Driver:
    if name == "lmdb":
        return Lmdb()
    return Rocks(wal=name == "rocksdb+wal")
