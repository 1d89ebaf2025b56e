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
BATCH = 1000
THROTTLE_EVERY = 100
"""Puts between two calls of `throttle`."""
WRITERS = 64
SYNCED_PER_WRITER = 50
HOT_KEYS = 100_000
"""The working set of the hot reads: about 12 MB, which fits everybody's cache."""
READS = 300_000
COLD_READS = 20_000
RANGES = 5_000
RANGE = 100
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


async def puts(driver: Driver, directory: str, count: int) -> Figures:
    pairs = make_pairs(count)
    await driver.open(directory)
    gc.collect()
    written = written_bytes()
    put, throttle = driver.put, driver.throttle
    cpu = time.process_time()
    begin = time.perf_counter()
    for start in range(0, count, THROTTLE_EVERY):
        for each, value in pairs[start : start + THROTTLE_EVERY]:
            put(each, value)
        await throttle()
    ended = time.perf_counter()
    await driver.flush()
    flushed = time.perf_counter()
    cpu = time.process_time() - cpu
    await driver.settle()
    settled = time.perf_counter()
    figures = {
        "put": count / (flushed - begin),
        "put without the flush": count / (ended - begin),
        "put, CPU us each": cpu * 1e6 / count,
        "settling after the puts s": settled - flushed,
        "bytes written per byte put": (written_bytes() - written) / (count * (KEY_BYTES + VALUE_BYTES)),
    }
    await driver.close()
    figures["space per byte put"] = space_bytes(directory) / (count * (KEY_BYTES + VALUE_BYTES))
    return figures


async def batches(driver: Driver, directory: str, count: int) -> Figures:
    pairs = make_pairs(count)
    await driver.open(directory)
    gc.collect()
    begin = time.perf_counter()
    for start in range(0, count, BATCH):
        await driver.write(pairs[start : start + BATCH])
        await driver.throttle()
    ended = time.perf_counter()
    await driver.flush()
    flushed = time.perf_counter()
    await driver.close()
    return {"batch": count / (flushed - begin), "batch without the flush": count / (ended - begin)}


async def bulk(driver: Driver, directory: str, count: int) -> Figures:
    pairs = sorted(make_pairs(count))
    await driver.open(directory)
    gc.collect()
    begin = time.perf_counter()
    await driver.load(pairs)
    await driver.flush()
    took = time.perf_counter() - begin
    await driver.close()
    return {"bulk load": count / took}


async def synced(driver: Driver, directory: str, count: int) -> Figures:
    if not driver.synced:
        return {}
    pairs = make_pairs(min(count, WRITERS * SYNCED_PER_WRITER))
    await driver.open(directory)
    begin = time.perf_counter()
    await driver.synced_puts(WRITERS, pairs)
    took = time.perf_counter() - begin
    await driver.close()
    return {f"synced put, {WRITERS} writers": len(pairs) / took}


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
        figures["get, cold"] = measured_gets(driver, chosen)
        figures["cold get, bytes from the device"] = (read_bytes() - device) / COLD_READS
    hot = [key(source.randrange(count)) for _ in range(min(count, HOT_KEYS))]
    measured_gets(driver, hot)
    figures["get, hot"] = measured_gets(driver, [hot[source.randrange(len(hot))] for _ in range(READS)])
    missing = [key(source.randrange(count, 2 * count)) for _ in range(READS)]
    get = driver.get
    begin = time.perf_counter()
    for each in missing:
        if get(each) is not None:
            raise RuntimeError("a missing key was found")
    figures["get, missing"] = READS / (time.perf_counter() - begin)
    begin = time.perf_counter()
    seen = sum(1 for _pair in driver.scan(None))
    figures["full scan"] = seen / (time.perf_counter() - begin)
    if seen != count:
        raise RuntimeError(f"a scan found {seen} of {count} pairs")
    starts = [key(source.randrange(count)) for _ in range(RANGES)]
    begin = time.perf_counter()
    seen = sum(len(list(islice(driver.scan(start), RANGE))) for start in starts)
    figures["range scans of 100"] = RANGES / (time.perf_counter() - begin)
    if seen < RANGES * RANGE * 0.9:
        raise RuntimeError("range scans found too little")
    figures["RSS after reads MB"] = rss_bytes() / 1e6
    await driver.close()
    return figures


def measured_gets(driver: Driver, keys: list[bytes]) -> float:
    get = driver.get
    begin = time.perf_counter()
    for each in keys:
        if get(each) is None:
            raise RuntimeError("a key is lost")
    return len(keys) / (time.perf_counter() - begin)


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
