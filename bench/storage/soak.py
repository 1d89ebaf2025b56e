"""A long random history on real files against a dict: `python -m bench.storage.soak btree|lsm [--keys N]`.

Puts, deletions, ranges, merges and batches over a million keys; now and then a snapshot is held for a while, the engine
is flushed, closed and opened again. It ends with everything compared, and with the engine's own verification.
"""

import argparse
import asyncio
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from runtime.real import real_runtime
from storage.btree import BTreeEngine
from storage.btree.verify import verify
from storage.engine import Snapshot, WriteBatch
from storage.lsm import LsmEngine
from storage.merge_operators import Append

KEYS = 1_000_000
OPERATIONS = 3_000_000
VALUE_BYTES_MAX = 120
LARGE_EVERY = 5_000
LARGE_BYTES = 20_000
RANGE_KEYS_MAX = 300
BATCH = 100
LOOK_EVERY = 100_000
"""Operations between two looks: reads are compared, and then the engine is flushed or opened again."""


def key(number: int) -> bytes:
    return number.to_bytes(8, "big")


class Soak:
    def __init__(self, engine: str, directory: str, keys: int, seed: int) -> None:
        self._runtime = real_runtime(directory)
        self._name = engine
        self._keys = keys
        self._random = random.Random(seed)
        self.model: dict[bytes, bytes] = {}
        self.held: tuple[Snapshot, list[tuple[bytes, bytes | None]]] | None = None

    async def open(self) -> None:
        runtime = self._runtime
        self.engine: BTreeEngine | LsmEngine
        if self._name == "btree":
            self.engine = await BTreeEngine.open(runtime.disk, "engine", operator=Append())
        else:
            self.engine = await LsmEngine.open(
                runtime.disk, "engine", clock=runtime.clock, random=runtime.random, operator=Append()
            )

    def value(self) -> bytes:
        source = self._random
        return source.randbytes(
            LARGE_BYTES if source.randrange(LARGE_EVERY) == 0 else source.randrange(VALUE_BYTES_MAX)
        )

    def change(self, batch: WriteBatch) -> int:
        """Adds one change to a batch and makes it in the model; how many operations it counts for."""
        source, model = self._random, self.model
        number = source.randrange(self._keys)
        drawn = source.random()
        if drawn < 0.70:
            model[key(number)] = value = self.value()
            batch.put(key(number), value)
        elif drawn < 0.90:
            model.pop(key(number), None)
            batch.delete(key(number))
        elif drawn < 0.995:
            operand = source.randbytes(4)
            model[key(number)] = model.get(key(number), b"") + operand
            batch.merge(key(number), operand)
        else:
            end = number + source.randrange(RANGE_KEYS_MAX)
            for each in range(number, end):
                model.pop(key(each), None)
            batch.delete_range(key(number), key(end))
        return 1

    async def step(self) -> int:
        """Some changes, alone or together."""
        done = 0
        for _ in range(BATCH):
            batch = WriteBatch()
            for _ in range(self._random.choice((1, 1, 1, 30))):
                done += self.change(batch)
            self.engine.write(batch)
        await self.engine.throttle()
        return done

    async def look(self) -> None:
        """Compares a part, and does what comes seldom."""
        source = self._random
        numbers = [source.randrange(self._keys) for _ in range(1000)]
        for number in numbers:
            assert self.engine.get(key(number)) == self.model.get(key(number)), number
        low = source.randrange(self._keys)
        expected = ((key(each), self.model[key(each)]) for each in range(low, low + 5000) if key(each) in self.model)
        same(self.engine.scan(key(low), key(low + 5000)), expected)
        if self.held is not None:
            snapshot, seen = self.held
            for each, value in seen:
                assert snapshot.get(each) == value
            snapshot.close()
            self.held = None
        chosen = source.randrange(4)
        if chosen == 0:
            await self.engine.flush()
        elif chosen == 1:
            await self.engine.flush()
            await self.engine.close()
            await self.open()
        else:
            self.held = self.engine.snapshot(), [(key(number), self.model.get(key(number))) for number in numbers]


def same(found: Iterator[tuple[bytes, bytes]], expected: Iterator[tuple[bytes, bytes]]) -> int:
    """Compares pair by pair; how many there are."""
    count = 0
    for one, other in zip(found, expected, strict=True):
        assert one == other, (one[0], other[0])
        count += 1
    return count


async def main(engine: str, directory: str, keys: int, operations: int, seed: int) -> None:
    soak = Soak(engine, directory, keys, seed)
    await soak.open()
    begin = time.perf_counter()
    done = looked = 0
    while done < operations:
        done += await soak.step()
        if done - looked >= LOOK_EVERY:
            looked = done
            await soak.look()
    if soak.held is not None:
        soak.held[0].close()
    await soak.engine.flush()
    await soak.engine.close()
    await soak.open()
    model = soak.model
    entries = same(soak.engine.scan(), ((each, model[each]) for each in sorted(model)))
    same(soak.engine.scan(reverse=True), ((each, model[each]) for each in sorted(model, reverse=True)))
    await soak.engine.close()
    if engine == "btree":
        report = await verify(soak._runtime.disk, "engine")
        assert report.whole, report.faults[:3]
        print(f"{report.pages:,} pages, {report.free_pages:,} free")
    took_s = time.perf_counter() - begin
    print(f"{engine}: {done:,} operations over {keys:,} keys in {took_s:.0f} s; {entries:,} entries equal")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("btree", "lsm"))
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--operations", type=int, default=OPERATIONS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("build/soak-storage"))
    chosen = parser.parse_args()
    shutil.rmtree(chosen.data, ignore_errors=True)
    try:
        asyncio.run(main(chosen.engine, str(chosen.data), chosen.keys, chosen.operations, chosen.seed))
    finally:
        shutil.rmtree(chosen.data, ignore_errors=True)
