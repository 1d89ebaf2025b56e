"""One engine, one part of the work, in a process of its own: prints its figures as JSON.

`python -m bench.storage.worker ENGINE PART DIRECTORY KEYS`, by the environment that the engine lives in.
"""

import asyncio
import gc
import importlib
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bench.storage.driver import Driver, Pairs

PEERS = ("rocksdb", "rocksdb+wal", "lmdb")
KEY_BYTES, VALUE_BYTES = 16, 100
PAIR_BYTES = KEY_BYTES + VALUE_BYTES
BATCH = 1000
THROTTLE_EVERY = 100
"""Puts between two calls of `throttle`."""
WRITERS = 64
SYNCED_PER_WRITER = 50
HOT_KEYS = 100_000
"""The working set of the hot reads: neighbours in the order of keys, 12 MB, so that it fits every cache, of rows, of
blocks or of pages."""
READS = 300_000
COLD_READS = 20_000
RANGES = 5_000
RANGE = 100
CPU = ", CPU us each"
"""Behind the name of a rate: what the processor did for it, this process's threads included, other processes not."""
_ODD = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_VALUES = [random.Random(number).randbytes(VALUE_BYTES) for number in range(1000)]

Figures = dict[str, float]


def key(number: int) -> bytes:
    """Multiplying by an odd number makes a permutation: every key once, in no order."""
    return b"%016x" % (number * _ODD & _MASK)


def make_pairs(count: int) -> Pairs:
    return [(key(number), _VALUES[number % 1000]) for number in range(count)]


def make_driver(name: str) -> Driver:
    module = importlib.import_module("bench.storage.peers" if name in PEERS else "bench.storage.ours")
    driver: Driver = module.driver(name)
    return driver


def processes() -> Iterator[str]:
    """This one and its children, since an engine may have work done by others."""
    yield "self"
    for task in Path("/proc/self/task").iterdir():
        yield from (task / "children").read_text().split()


def written_bytes() -> int:
    """What went to the device or is in the page cache for it."""
    total = 0
    for process in processes():
        fields = dict(line.split(": ") for line in Path(f"/proc/{process}/io").read_text().splitlines())
        total += int(fields["write_bytes"])
    return total


def read_bytes() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["read_bytes"])


def rss_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS")


def files(directory: str) -> list[str]:
    return [os.path.join(parent, name) for parent, _names, found in os.walk(directory) for name in found]


def space_bytes(directory: str) -> int:
    """Blocks, not lengths: files may have holes."""
    return sum(os.stat(path).st_blocks * 512 for path in files(directory))


def drop_page_cache(directory: str) -> None:
    """Asks the kernel to forget these files alone: other people work on this machine."""
    for path in files(directory):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


class Meter:
    """Rates, and the CPU time of this process behind them, which other work on the machine disturbs far less."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        gc.collect()
        self.start()

    def start(self) -> None:
        self._cpu = time.process_time()
        self._begin = time.perf_counter()

    def note(self, name: str, count: int) -> None:
        """So many were done since the start."""
        took, cpu = time.perf_counter() - self._begin, time.process_time() - self._cpu
        self._figures[name] = count / took
        self._figures[f"{name}{CPU}"] = cpu * 1e6 / count


async def puts(driver: Driver, directory: str, count: int) -> Figures:
    pairs = make_pairs(count)
    figures: Figures = {}
    await driver.open(directory)
    written = written_bytes()
    put, throttle = driver.put, driver.throttle
    meter = Meter(figures)
    for start in range(0, count, THROTTLE_EVERY):
        for each, value in pairs[start : start + THROTTLE_EVERY]:
            put(each, value)
        await throttle()
    meter.note("put without the flush", count)
    await driver.flush()
    meter.note("put", count)
    begin = time.perf_counter()
    await driver.settle()
    figures["settling after the puts s"] = time.perf_counter() - begin
    figures["bytes written per byte put, by the kernel"] = (written_bytes() - written) / (count * PAIR_BYTES)
    if (own := driver.written()) is not None:
        figures["bytes written per byte put, by the engine"] = own / (count * PAIR_BYTES)
    await driver.close()
    figures["space per byte put"] = space_bytes(directory) / (count * PAIR_BYTES)
    return figures


async def batches(driver: Driver, directory: str, count: int) -> Figures:
    pairs = make_pairs(count)
    figures: Figures = {}
    await driver.open(directory)
    meter = Meter(figures)
    for start in range(0, count, BATCH):
        await driver.write(pairs[start : start + BATCH])
        await driver.throttle()
    meter.note("batch without the flush", count)
    await driver.flush()
    meter.note("batch", count)
    await driver.close()
    return figures


async def bulk(driver: Driver, directory: str, count: int) -> Figures:
    pairs = sorted(make_pairs(count))
    figures: Figures = {}
    await driver.open(directory)
    meter = Meter(figures)
    await driver.load(pairs)
    await driver.flush()
    meter.note("bulk load", count)
    await driver.close()
    return figures


async def synced(driver: Driver, directory: str, count: int) -> Figures:
    figures: Figures = {}
    if not driver.synced:
        return figures
    pairs = make_pairs(min(count, WRITERS * SYNCED_PER_WRITER))
    await driver.open(directory)
    meter = Meter(figures)
    await driver.synced_puts(WRITERS, pairs)
    meter.note(f"synced put, {WRITERS} writers", len(pairs))
    await driver.close()
    return figures


async def latencies(driver: Driver, directory: str, count: int) -> Figures:
    """Each put by the clock, with the wait that `throttle` brings counted to the put before it."""
    pairs = make_pairs(count)
    pairs += random.Random(1).sample(pairs, count // 2)
    await driver.open(directory)
    gc.collect()
    put, throttle, clock = driver.put, driver.throttle, time.perf_counter
    took = []
    for number, (each, value) in enumerate(pairs):
        begin = clock()
        put(each, value)
        if number % 10 == 9:
            await throttle()
        took.append(clock() - begin)
    await driver.close()
    took.sort()
    return {
        f"put ms {name}": took[min(len(took) - 1, int(len(took) * share))] * 1000
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
    }


async def reads(driver: Driver, directory: str, count: int) -> Figures:
    figures: Figures = {}
    source = random.Random(1)
    if not files(directory):
        # An engine without files: it gets its content here, and has no cold reads.
        await driver.open(directory)
        await driver.load(make_pairs(count))
    else:
        drop_page_cache(directory)
        before = rss_bytes()
        begin = time.perf_counter()
        await driver.open(directory)
        figures["reopen ms"] = (time.perf_counter() - begin) * 1000
        figures["RSS after the opening MB"] = rss_bytes() / 1e6
        figures["RSS that the opening added MB"] = (rss_bytes() - before) / 1e6
        chosen = [key(source.randrange(count)) for _ in range(COLD_READS)]
        device = read_bytes()
        gets(driver, chosen, "get, cold", figures)
        figures["cold get, bytes from the device"] = (read_bytes() - device) / COLD_READS
    hot = [each for each, _value in islice(driver.scan(None), HOT_KEYS)]
    source.shuffle(hot)
    for _ in range(2):
        gets(driver, hot, "get, hot", figures)
    gets(driver, [hot[source.randrange(len(hot))] for _ in range(READS)], "get, hot", figures)
    missing = [key(source.randrange(count, 2 * count)) for _ in range(READS)]
    get = driver.get
    meter = Meter(figures)
    for each in missing:
        if get(each) is not None:
            raise RuntimeError("a missing key was found")
    meter.note("get, missing", READS)
    meter.start()
    seen = sum(1 for _pair in driver.scan(None))
    meter.note("full scan", seen)
    if seen != count:
        raise RuntimeError(f"a scan found {seen} of {count} pairs")
    starts = [key(source.randrange(count)) for _ in range(RANGES)]
    meter.start()
    seen = sum(len(list(islice(driver.scan(start), RANGE))) for start in starts)
    meter.note("range scans of 100", RANGES)
    if seen < RANGES * RANGE * 0.9:
        raise RuntimeError("range scans found too little")
    figures["RSS after reads MB"] = rss_bytes() / 1e6
    await driver.close()
    return figures


def gets(driver: Driver, keys: list[bytes], name: str, figures: Figures) -> None:
    get = driver.get
    meter = Meter(figures)
    for each in keys:
        if get(each) is None:
            raise RuntimeError("a key is lost")
    meter.note(name, len(keys))


async def disk(directory: str) -> Figures:
    """What the disk itself does: appends of a page, each synced."""
    os.makedirs(directory, exist_ok=True)
    descriptor = os.open(os.path.join(directory, "probe"), os.O_RDWR | os.O_CREAT)
    page = os.urandom(4096)
    begin = time.perf_counter()
    for number in range(300):
        os.pwrite(descriptor, page, number * len(page))
        os.fdatasync(descriptor)
    took = time.perf_counter() - begin
    os.close(descriptor)
    return {"syncs of the disk": 300 / took}


PARTS = {"puts": puts, "batches": batches, "bulk": bulk, "synced": synced, "latencies": latencies, "reads": reads}


def run(name: str, part: str, directory: str, count: int) -> Figures:
    if name == "disk":
        return asyncio.run(disk(directory))
    work = PARTS[part](make_driver(name), directory, count)
    if name in PEERS:
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], sys.argv[2], os.path.abspath(sys.argv[3]), int(sys.argv[4]))))
