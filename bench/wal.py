"""Group commit on the real disk: `python bench/wal.py DIRECTORY [APPENDERS] [SECONDS]`."""

import asyncio
import json
import sys
import time

import uvloop

from runtime.real import real_runtime
from storage.wal import Wal

RECORD = b"x" * 200


async def main(directory: str, appenders: int, duration_s: float) -> None:
    runtime = real_runtime(directory)
    syncs_s: list[float] = []
    wal, recovered = await Wal.open(
        runtime.disk, "wal", random=runtime.random, clock=runtime.clock, observe_sync=syncs_s.append
    )
    await recovered.drain()
    deadline_s = time.monotonic() + duration_s

    async def append() -> None:
        while time.monotonic() < deadline_s:
            await wal.append([RECORD])

    cpu_s = time.process_time()
    await asyncio.gather(*(append() for _ in range(appenders)))
    cpu_s = time.process_time() - cpu_s
    syncs_s.sort()
    print(
        json.dumps(
            {
                "appenders": appenders,
                "record_bytes": len(RECORD),
                "appends_per_s": round(wal.statistics.appends / duration_s),
                "syncs_per_s": round(wal.statistics.syncs / duration_s),
                "sync_ms_p50": round(syncs_s[len(syncs_s) // 2] * 1000, 3),
                "sync_ms_p99": round(syncs_s[len(syncs_s) * 99 // 100] * 1000, 3),
                "cpu_share": round(cpu_s / duration_s, 2),
            }
        )
    )
    await wal.close()


if __name__ == "__main__":
    uvloop.run(
        main(
            sys.argv[1],
            int(sys.argv[2]) if len(sys.argv) > 2 else 64,
            float(sys.argv[3]) if len(sys.argv) > 3 else 2.0,
        )
    )
