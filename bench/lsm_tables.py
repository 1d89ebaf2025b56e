"""What the files of the LSM engine carry: `python -m bench.lsm_tables [KEYS] [--profile NAME]`.

Each figure is the best of three, in keys (or lookups) a second of CPU time, so that what else runs on the machine
matters little. Keys have 16 bytes, values 100.
"""

import asyncio
import cProfile
import gc
import os
import pstats
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence

from runtime.real import real_runtime
from storage.lsm.block import Block, decode_block, encode_block
from storage.lsm.block_shape import BlockKind
from storage.lsm.columns import SILENCE, Columns
from storage.lsm.compression import Compression
from storage.lsm.lookup import Lookup
from storage.lsm.merging import Purpose, merge, merge_bulk
from storage.lsm.sorted_run import SortedRun
from storage.lsm.table_reader import TableReader
from storage.lsm.table_writer import TableWriter
from structures.shelf_cache import ShelfCache

CHUNK = 1000
PROFILE = sys.argv[sys.argv.index("--profile") + 1] if "--profile" in sys.argv else ""


def report(name: str, count: int, work: Callable[[], object]) -> None:
    best_s = float("inf")
    for _ in range(3):
        gc.collect()
        started_s = time.process_time()
        work()
        best_s = min(best_s, time.process_time() - started_s)
    print(f"{name:34} {count / best_s:14,.0f} /s {best_s / count * 1e9:10.0f} ns each", flush=True)
    if PROFILE and PROFILE in name:
        profile = cProfile.Profile()
        profile.runcall(work)
        pstats.Stats(profile).sort_stats("tottime").print_stats(14)


def write(keys: Sequence[bytes], values: Sequence[bytes], table_id: int, compression: Compression) -> list[bytes]:
    writer = TableWriter(table_id=table_id, compression=compression)
    parts: list[bytes] = []
    for start in range(0, len(keys), CHUNK):
        parts += writer.add(Columns(list(keys[start : start + CHUNK]), list(values[start : start + CHUNK]), True))
    for more in writer.finish():
        parts += more
    return parts


async def drain(stream: AsyncIterator[Columns]) -> int:
    count = 0
    async for columns in stream:
        count += len(columns.keys)
    return count


async def prepare(directory: str, name: str, parts: list[bytes], cache: ShelfCache[Block]) -> TableReader:
    disk = real_runtime(directory).disk
    file = await disk.open(name, create=True)
    await file.pwrite(parts, 0)
    return await TableReader.open(file, name, cache)


def blocks(keys: list[bytes], values: list[bytes]) -> None:
    def noop() -> None:
        pass

    def calls() -> None:
        for _ in range(1_000_000):
            noop()

    report("noop call", 1_000_000, calls)
    count = 35
    few, few_values = keys[:count], values[:count]
    turns = range(2000)
    for compression in Compression:
        data = encode_block(BlockKind.DATA, few, few_values, plain=True, compression=compression, table_id=1, offset=0)

        def encode(compression: Compression = compression) -> None:
            for _ in turns:
                encode_block(BlockKind.DATA, few, few_values, plain=True, compression=compression, table_id=1, offset=0)

        def decode(data: bytes = data) -> None:
            for _ in turns:
                decode_block(data, path="", offset=0, table_id=1).columns()

        report(f"block encode {compression.name.lower()}", len(turns) * count, encode)
        report(f"block decode {compression.name.lower()}", len(turns) * count, decode)


def main() -> None:
    total = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 300_000
    source = random.Random(1)
    keys = sorted({source.randbytes(16) for _ in range(total)})
    values = [source.randbytes(50) + bytes(50) for _ in keys]
    blocks(keys, values)
    for compression in Compression:
        report(
            f"table write {compression.name.lower()}",
            total,
            lambda compression=compression: write(keys, values, 1, compression),  # type: ignore[misc]
        )
    varied = [key[: 10 + key[0] % 7] + key for key in keys]
    varied_values = [value[: 60 + value[0] % 40] for value in values]
    report("table write, lengths vary", total, lambda: write(sorted(varied), varied_values, 1, Compression.NONE))

    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        cache: ShelfCache[Block] = ShelfCache(1 << 30)
        run = runner.run
        table = run(prepare(directory, "whole", write(keys, values, 1, Compression.NONE), cache))
        vary = run(prepare(directory, "vary", write(sorted(varied), varied_values, 2, Compression.NONE), cache))
        quarters = [
            run(
                prepare(
                    directory, f"part{part}", write(keys[part::4], values[part::4], 10 + part, Compression.NONE), cache
                )
            )
            for part in range(4)
        ]
        asked = source.choices(keys, k=100_000)
        asked_vary = source.choices(varied, k=100_000)
        missing = [source.randbytes(16) for _ in asked]
        lookup = Lookup([SortedRun([table])], None).find
        lookup4 = Lookup([SortedRun([each]) for each in quarters], None).find
        for key in asked:
            table.find(key)
            lookup4(key)
        for key in asked_vary:
            vary.find(key)

        def ask(find: Callable[[bytes], object], questions: list[bytes]) -> Callable[[], None]:
            def work() -> None:
                for key in questions:
                    find(key)

            return work

        tiny: ShelfCache[Block] = ShelfCache(1)
        cold = run(TableReader.open(table._file, "whole", tiny))
        report("find hot", len(asked), ask(table.find, asked))
        report("lookup hot", len(asked), ask(lookup, asked))
        report("lookup hot, 4 runs", len(asked), ask(lookup4, asked))
        report("find hot, lengths vary", len(asked), ask(vary.find, asked_vary))
        report("find in the page cache", len(asked), ask(cold.find, asked))
        report("find missing", len(missing), ask(table.find, missing))
        report("lookup missing, 4 runs", len(missing), ask(lookup4, missing))
        errs = sum(table.find(key) is not SILENCE for key in missing)
        assert not errs

        def scan(tables: list[TableReader], *, reverse: bool = False) -> Callable[[], None]:
            def pairs() -> None:
                count = 0
                for columns in merge(tables, None, None, reverse=reverse, operator=None, now_ms=0):
                    for _pair in zip(columns.keys, columns.entries, strict=True):
                        count += 1
                assert count == total

            return pairs

        report("scan of pairs", total, scan([table]))
        report("scan of pairs, reverse", total, scan([table], reverse=True))
        report("scan of pairs, lengths vary", total, scan([vary]))
        report("scan of pairs, 4 runs", total, scan(quarters))

        def ranges() -> None:
            for low in asked[:3000]:
                count = 0
                for columns in merge([table], low, None, operator=None, now_ms=0):
                    count += len(columns.keys)
                    if count >= 100:
                        break

        report("range scans of 100 (scans)", 3000, ranges)

        def compact(rewrite: bool) -> Callable[[], None]:
            async def work() -> None:
                merged = merge_bulk(
                    [each.bulk() for each in quarters], [[]] * 4, purpose=Purpose.BOTTOM, operator=None, now_ms=0
                )
                if not rewrite:
                    assert await drain(merged) == total
                    return
                writer = TableWriter(table_id=9)
                async for columns in merged:
                    writer.add(columns)
                for _parts in writer.finish():
                    pass

            return lambda: run(work())

        report("merge of 4 runs", total, compact(rewrite=False))
        report("merge of 4 runs and write", total, compact(rewrite=True))
        print(f"file {table.size_bytes / total:.1f} bytes a key; memory {table.memory_bytes / total:.1f} bytes a key")
        print(f"pid {os.getpid()}")


if __name__ == "__main__":
    main()
