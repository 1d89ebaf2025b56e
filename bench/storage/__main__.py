"""The storage engines side by side: `python -m bench.storage [--keys N] [--engines a,b]`, or `make bench-storage`.

Method: keys of 16 bytes in no order, incompressible values of 100. Each engine does each part of the work in a process
of its own, one engine after another for each part, so that what else the machine does falls on all of them. Every rate
of writes counts until the data is durable (`flush`); what was seen before that is told beside it. Our engines run on
an event loop with `throttle` after every hundred puts; the peers stop writers within a put. Nothing is compressed, and
every cache has 80 MiB. Rates are ratios to RocksDB under the same promise: without a log to RocksDB without, with one
(`+wal`) to RocksDB with one; LMDB, the B+tree and the dict are held against RocksDB without.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from bench.rpc.plot import bars
from bench.storage.worker import CPU, PARTS, PEERS, Figures

ENGINES = ("dict", "btree", "lsm", "lsm+wal", "rocksdb", "rocksdb+wal", "lmdb")
PEERS_PYTHON = Path("build/peers/bin/python")
RATES = (
    "put",
    "put without the flush",
    "batch",
    "batch without the flush",
    "bulk load",
    "synced put, 64 writers",
    "get, hot",
    "get, cold",
    "get, missing",
    "full scan",
    "range scans of 100",
)
"""More is better. Everything else is told as it is."""
READ_FROM = "puts"
"""The part whose files the reads open."""


def python(engine: str) -> str:
    return str(PEERS_PYTHON) if engine in PEERS else sys.executable


def work(engine: str, part: str, directory: Path, keys: int) -> Figures:
    command = [python(engine), "-m", "bench.storage.worker", engine, part, str(directory), str(keys)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{engine}, {part}: failed\n{done.stderr}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(engines: list[str], keys: int, repeats: int, root: Path) -> dict[str, Figures]:
    """The figures of each engine; with repeats the median of each figure."""
    found: dict[str, dict[str, list[float]]] = {engine: {} for engine in engines}
    for repeat in range(repeats):
        for part in PARTS:
            for engine in engines:
                directory = root / f"{engine}-{READ_FROM if part == 'reads' else part}"
                if part != "reads":
                    shutil.rmtree(directory, ignore_errors=True)
                figures = work(engine, part, directory, keys)
                if part != READ_FROM:
                    shutil.rmtree(directory, ignore_errors=True)
                for name, value in figures.items():
                    found[engine].setdefault(name, []).append(value)
                told = ", ".join(f"{name} {shown(value)}" for name, value in figures.items())
                print(f"{repeat + 1}/{repeats} {part:10} {engine:12} {told}", flush=True)
    return {
        engine: {name: statistics.median(values) for name, values in each.items()} for engine, each in found.items()
    }


def base_of(engine: str) -> str:
    return "rocksdb+wal" if engine.endswith("+wal") else "rocksdb"


def shown(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(results: dict[str, Figures]) -> str:
    """Rates first, then the CPU time behind each, then the rest."""
    rates = [name for name in RATES if any(name in figures for figures in results.values())]
    lines = ["| | " + " | ".join(results) + " |", "|---|" + "--:|" * len(results)]
    lines += [row(results, name, f"{name}, per s", inverted=False) for name in rates]
    lines += [row(results, name + CPU, name + CPU, inverted=True) for name in rates]
    others: list[str] = []
    for figures in results.values():
        others += [name for name in figures if name not in others and name not in RATES and not name.endswith(CPU)]
    lines += [row(results, name, name, inverted=None) for name in others]
    return "\n".join(lines)


def row(results: dict[str, Figures], name: str, title: str, *, inverted: bool | None) -> str:
    """A line; with the ratio to RocksDB, unless `inverted` is None. Above 1 is better than RocksDB, always."""
    cells = []
    for engine, figures in results.items():
        value = figures.get(name)
        if value is None:
            cells.append("")
            continue
        # A synced put needs a log or a commit, so the one with a log is everybody's measure.
        base = "rocksdb+wal" if name.startswith("synced") else base_of(engine)
        other = results.get(base, {}).get(name)
        cell = shown(value)
        if inverted is not None and other and value and engine != base:
            cell += f" ({other / value if inverted else value / other:.2f}x)"
        cells.append(cell)
    return f"| {title} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--engines", default=",".join(ENGINES), help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=1, help="the median of so many runs is told")
    parser.add_argument("--out", type=Path, default=Path("build/bench-storage"))
    parser.add_argument("--data", type=Path, help="where the engines' files go (default: OUT/data)")
    arguments = parser.parse_args()
    engines = arguments.engines.split(",")
    if unknown := [engine for engine in engines if engine not in ENGINES]:
        raise SystemExit(f"unknown engines: {', '.join(unknown)}; there are {', '.join(ENGINES)}")
    if any(engine in PEERS for engine in engines) and not PEERS_PYTHON.exists():
        raise SystemExit("the peers are not installed: make peers")
    root = arguments.data or arguments.out / "data"
    root.mkdir(parents=True, exist_ok=True)
    try:
        syncs = work("disk", "syncs", root / "disk", 0)["syncs of the disk"]
        results = measure(engines, arguments.keys, arguments.repeats, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    load = os.getloadavg()[0]
    lines = [
        f"{arguments.keys:,} keys; {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; "
        f"median of {arguments.repeats}; load average at the end {load:.1f}.",
        "",
        f"The disk syncs {syncs:,.0f} appends of 4 KiB a second, one at a time.",
        "",
        "In brackets: the ratio to RocksDB under the same promise; above 1 is better, also for CPU time, which is that",
        "of the engine's process with all of its threads (the lsm's compactions have a process of their own).",
        "Cold: after the kernel was asked (posix_fadvise) to forget the engine's files, which it may not do for all.",
        "",
        table(results),
    ]
    arguments.out.mkdir(parents=True, exist_ok=True)
    figures = {"keys": arguments.keys, "syncs_per_s": syncs, "load": load, "engines": results}
    (arguments.out / "figures.json").write_text(json.dumps(figures, indent=1))
    (arguments.out / "table.md").write_text("\n".join(lines) + "\n")
    bar_values = [
        (name, engine, results[engine][name]) for name in RATES for engine in engines if name in results[engine]
    ]
    (arguments.out / "plot.svg").write_text(bars(f"per second, {arguments.keys:,} keys", bar_values))
    print()
    print("\n".join(lines))
    print(f"\nwritten to {arguments.out}")


if __name__ == "__main__":
    main()
