"""The structures that the storage engines stand on: `python -m bench.structures`. CPU time, best of three.

The cache is compared with LRU (an OrderedDict) in what a hit costs and in how often it hits: under Zipf's law, under
the same with scans going through, and with a hot set that moves.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate

from structures.blocked_bloom import BlockedBloom, BlockedBloomBuilder
from structures.shelf_cache import ShelfCache

PLACES = 20_000
CAPACITY = 4_000
LOOKUPS = 300_000


class Thing:
    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = False


def report(name: str, count: int, work: Callable[[], object]) -> None:
    best_s = float("inf")
    for _ in range(3):
        started_s = time.process_time()
        work()
        best_s = min(best_s, time.process_time() - started_s)
    print(f"{name:40} {count / best_s:14,.0f} /s {best_s / count * 1e9:8.0f} ns each", flush=True)


def bloom() -> None:
    source = random.Random(1)
    keys = 200_000
    hashes = [source.getrandbits(64) for _ in range(keys)]
    others = [source.getrandbits(64) for _ in range(keys)]
    for bits_per_key in (8, 10, 12, 16):
        builder = BlockedBloomBuilder(keys, bits_per_key)
        builder.add(hashes)
        filter_ = BlockedBloom(builder.encode())
        errs = sum(map(filter_.may_contain, others))
        print(f"bloom, {bits_per_key} bits a key: {errs / keys:.2%} false positives")

    def add() -> None:
        BlockedBloomBuilder(keys, 12).add(hashes)

    def ask() -> None:
        for value in others:
            filter_.may_contain(value)

    report("bloom add", keys, add)
    report("bloom ask", keys, ask)


def zipf(source: random.Random, count: int) -> list[int]:
    weights = list(accumulate(1 / (rank + 1) ** 0.99 for rank in range(PLACES)))
    places = list(range(PLACES))
    source.shuffle(places)
    return source.choices(places, cum_weights=weights, k=count)


def workloads() -> Iterator[tuple[str, list[int]]]:
    source = random.Random(2)
    yield "uniform", source.choices(range(PLACES), k=LOOKUPS)
    plain = zipf(source, LOOKUPS)
    yield "zipf", plain
    mixed: list[int] = []
    for start in range(0, LOOKUPS, 10_000):
        mixed += plain[start : start + 10_000]
        first = source.randrange(PLACES - 3000)
        mixed += range(first, first + 3000)
    yield "zipf with scans", mixed
    yield "zipf that moves", [*zipf(source, LOOKUPS // 3), *zipf(source, LOOKUPS // 3), *zipf(source, LOOKUPS // 3)]


def lru(asked: list[int]) -> int:
    cache: OrderedDict[int, Thing] = OrderedDict()
    hits = 0
    for place in asked:
        thing = cache.get(place)
        if thing is None:
            cache[place] = Thing()
            if len(cache) > CAPACITY:
                cache.popitem(last=False)
        else:
            cache.move_to_end(place)
            hits += 1
    return hits


def shelves(asked: list[int]) -> int:
    cache: ShelfCache[Thing] = ShelfCache(CAPACITY)
    shelf = cache.shelf(PLACES)
    things = shelf.things
    hits = 0
    for place in asked:
        thing = things[place]
        if thing is None:
            cache.put(shelf, place, Thing(), 1)
        else:
            thing.used = True
            hits += 1
    return hits


def main() -> None:
    bloom()
    for name, asked in workloads():
        print(f"{name}: LRU hits {lru(asked) / len(asked):.1%}, shelves {shelves(asked) / len(asked):.1%}")
        report(f"  LRU, {name}", len(asked), lambda asked=asked: lru(asked))  # type: ignore[misc]
        report(f"  shelves, {name}", len(asked), lambda asked=asked: shelves(asked))  # type: ignore[misc]
    hot = random.Random(3).choices(range(CAPACITY), k=LOOKUPS)
    report("LRU, hits only", LOOKUPS, lambda: lru(hot))
    report("shelves, hits only", LOOKUPS, lambda: shelves(hot))


if __name__ == "__main__":
    main()
