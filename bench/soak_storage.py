"""A million keys on the real disk under random operations, with reopenings: the engine must end equal to a dict.

make soak-storage
python -m bench.soak_storage --keys 1000000 --rounds 5 --seed 7
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time

from runtime.real import RealDisk
from runtime.sim import SeededRandomness
from storage.lsm import CompactionPolicy, LsmOptions
from storage.lsm.testing import Story, StoryOptions

FILL_SHARE = 0.6
"""Puts between two looks, as a share of the keys."""
ACTIONS_SHARE = 0.05
BATCHES = 200
"""A round; some of them delete ranges."""
WEIGHTS = (
    ("put", 60),
    ("delete", 20),
    ("merge", 10),
    ("expiring", 3),
    ("get", 20),
    ("throttle", 10),
    ("time", 1),
)


async def soak(keys: int, rounds: int, seed: int, wal: bool, policy: CompactionPolicy) -> None:
    options = LsmOptions(
        wal=wal,
        compaction=policy,
        memtable_bytes_max=8 << 20,
        level0_tables_compact=3,
        level1_bytes=24 << 20,
        level_growth=4,
        table_bytes_max=8 << 20,
        block_cache_bytes=16 << 20,
    )
    with tempfile.TemporaryDirectory() as root:
        disk = RealDisk(root)
        story = Story(
            disk,
            SeededRandomness(random.Random(seed)),
            options,
            StoryOptions(keys=keys, keep_states=False, weights=WEIGHTS),
        )
        await story.begin()
        for number in range(1, rounds + 1):
            begin_s = time.perf_counter()
            for _ in range(int(keys * FILL_SHARE) // 100):
                await story.play_only("put", 100)
                await story.act("throttle")
            await story.play(int(keys * ACTIONS_SHARE))
            # Few of them: the model looks at every key to delete a range.
            await story.play_only("batch", BATCHES)
            await story.play_only("delete_range", 20)
            await story.act("checkpoint" if number == rounds else "scan")
            if not wal:
                await story.act("flush")
            engine = story.engine
            assert engine is not None
            statistics = engine.statistics()
            await story.end()
            await story.begin()
            story.check()
            print(
                f"round {number}: {len(story.model.keys())} keys equal, {time.perf_counter() - begin_s:.0f} s, "
                f"{statistics.flushes} flushes, {statistics.compactions} compactions, "
                f"write amplification {statistics.write_amplification:.1f}, stops {statistics.stops}",
                flush=True,
            )
        await story.end()
        disk.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="A soak of the LSM engine against a dict.")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wal", action="store_true")
    parser.add_argument("--tiered", action="store_true")
    asked = parser.parse_args()
    policy = CompactionPolicy.TIERED if asked.tiered else CompactionPolicy.LEVELED
    asyncio.run(soak(asked.keys, asked.rounds, asked.seed, asked.wal, policy))
    return 0


if __name__ == "__main__":
    sys.exit(main())
