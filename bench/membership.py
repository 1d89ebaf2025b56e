"""How fast and how reliably the membership notices deaths, beside what the papers of SWIM and Lifeguard report.

    python -m bench.membership [--quick] [--only PART]

Cores of `cluster.membership.core` on the light network of its `testing`: the code of production, its bytes included, on
virtual time, so the figures do not depend on the machine; a seed gives them again. A tick is 0.1 s, a probe interval
1 s. Writes build/bench-membership/results.json and prints Markdown tables, which docs/membership.md holds.
"""

import argparse
import dataclasses
import gc
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cluster.membership.core import EventKind, Mechanisms, SwimConfig
from cluster.membership.core.testing import Cluster, Weather
from cluster.membership.envelope import PLAIN_BYTES
from runtime.sim import SeededRandomness

TICKS_PER_S = 10
HEADERS_BYTES = 28
"""IPv4 and UDP."""
OUT = "build/bench-membership"

SWIM = "SWIM"
PLAIN = "no Lifeguard"
FULL = "Lifeguard"
VARIANTS = {
    SWIM: SwimConfig(mechanisms=Mechanisms.swim()),
    PLAIN: SwimConfig(mechanisms=Mechanisms.without_lifeguard()),
    FULL: SwimConfig(),
}

HEADS = {
    "messages_per_node_s": "packets/s",
    "bytes_per_node_s": "bytes/s",
    "busy_bytes_per_node_s": "bytes/s while members die",
    "suspected_s": "suspected after s",
    "failed_s": "declared dead after s",
    "all_know_s": "all know after s",
    "all_know_s_max": "at the latest",
    "spread_s": "first to last s",
    "not_known_by_all": "not known by all",
    "false_failures": "living declared dead",
    "false_suspicions": "living suspected",
    "false_failures_healthy": "of and by healthy ones",
    "slow_declared_dead": "times a slow one was",
    "knows_all_s": "knows all after s",
    "known_by_all_s": "known by all after s",
    "bytes_per_join": "bytes of all meanwhile",
}


@dataclass(frozen=True)
class Row:
    part: str
    members: int
    variant: str
    weather: str
    figures: dict[str, float | None]


def make(members: int, config: SwimConfig, weather: Weather, seed: int) -> Cluster:
    gc.unfreeze()
    gc.collect()
    gc.disable()
    randomness = SeededRandomness(random.Random(f"{seed}/{members}"))
    cluster = Cluster(randomness, weather, overhead_bytes=PLAIN_BYTES + HEADERS_BYTES)
    for number in range(members):
        cluster.add(f"member-{number}", config)
    cluster.introduce_all()
    gc.freeze()
    gc.enable()
    return cluster


def traffic(cluster: Cluster) -> tuple[int, int, int]:
    nodes = cluster.nodes.values()
    return (
        sum(node.sent for node in nodes),
        sum(node.sent_bytes + node.stream_bytes for node in nodes),
        max(node.sent_bytes + node.stream_bytes for node in nodes),
    )


def per_second(cluster: Cluster, seconds: float, work: Callable[[], object]) -> dict[str, float | None]:
    before, start = traffic(cluster), cluster.now
    work()
    after = traffic(cluster)
    seconds = (cluster.now - start) / TICKS_PER_S
    share = len(cluster.nodes) * seconds
    return {
        "messages_per_node_s": round((after[0] - before[0]) / share, 2),
        "bytes_per_node_s": round((after[1] - before[1]) / share, 1),
    }


def false_positives(cluster: Cluster, dead: Iterable[str], slow: Iterable[str] = ()) -> tuple[int, int, int]:
    """Failures declared of the living: by all, and by those that are not slow; and suspicions of the living."""
    dead, slow = set(dead), set(slow)
    wrong = [heard for heard in cluster.heard if heard.subject not in dead]
    failed = [heard for heard in wrong if heard.kind is EventKind.FAILED]
    healthy = [heard for heard in failed if heard.listener not in slow and heard.subject not in slow]
    suspected = {(heard.subject, heard.listener) for heard in wrong if heard.kind is EventKind.SUSPECT}
    return len(failed), len(healthy), len(suspected)


def deaths(members: int, variant: str, loss: float, seeds: range, crashes: int) -> Row:
    """The same in several worlds: medians of medians, sums of what went wrong, the worst of all."""
    rows = [deaths_once(members, variant, loss, seed, crashes) for seed in seeds]
    figures: dict[str, float | None] = {}
    for key in rows[0]:
        values = [value for row in rows if (value := row[key]) is not None]
        if key in ("not_known_by_all", "false_failures", "false_suspicions"):
            figures[key] = sum(values)
        else:
            figures[key] = max(values) if key.endswith("_max") else middle(values)
    figures["deaths"] = crashes * len(seeds)
    return Row("deaths", members, variant, f"loss {loss:.0%}", figures)


def deaths_once(members: int, variant: str, loss: float, seed: int, crashes: int) -> dict[str, float | None]:
    """Quiet time, then members die one after another and stay dead."""
    cluster = make(members, VARIANTS[variant], Weather(loss=loss), seed)
    cluster.run(5 * TICKS_PER_S)
    quiet = per_second(cluster, 60, lambda: cluster.run(60 * TICKS_PER_S))
    died: dict[str, float] = {}
    noise = traffic(cluster)
    begun = cluster.now

    def kill(name: str) -> Callable[[], None]:
        def act() -> None:
            died[name] = cluster.now
            cluster.stop(name)

        return act

    # A second and a bit apart at a thousand, so that they share the tail; one by one where that is cheap.
    gap_s = 2.3 if members >= 1000 else 1.7 * 12
    victims = [f"member-{number * 3 + 1}" for number in range(crashes)]
    for number, name in enumerate(victims):
        cluster.at(cluster.now + number * gap_s * TICKS_PER_S, kill(name))
    cluster.run((crashes * gap_s + 2) * TICKS_PER_S)
    cluster.run(120 * TICKS_PER_S, cluster.agreed)
    seconds = (cluster.now - begun) / TICKS_PER_S
    busy = traffic(cluster)
    living = {node.name for node in cluster.running()}
    first_suspected, first_failed, all_failed, spread = [], [], [], []
    missed = 0
    for name, at in died.items():
        heard = [item for item in cluster.heard if item.subject == name and item.tick >= at]
        suspected = [item.tick for item in heard if item.kind is EventKind.SUSPECT]
        failed = {item.listener: item.tick for item in heard if item.kind is EventKind.FAILED}
        known = [failed[listener] for listener in living if listener in failed]
        if len(known) < len(living):
            missed += 1
            continue
        first_suspected.append((min(suspected) - at) / TICKS_PER_S)
        first_failed.append((min(known) - at) / TICKS_PER_S)
        all_failed.append((max(known) - at) / TICKS_PER_S)
        spread.append((max(known) - min(known)) / TICKS_PER_S)
    wrong, _, suspicions = false_positives(cluster, died)
    return {
        **quiet,
        "busy_bytes_per_node_s": round((busy[1] - noise[1]) / members / seconds, 1),
        "suspected_s": middle(first_suspected),
        "failed_s": middle(first_failed),
        "all_know_s": middle(all_failed),
        "all_know_s_max": round(max(all_failed), 2) if all_failed else None,
        "spread_s": middle(spread),
        "not_known_by_all": missed,
        "false_failures": wrong,
        "false_suspicions": suspicions,
    }


def middle(values: list[float]) -> float | None:
    return round(statistics.median(values), 2) if values else None


def slow(members: int, variant: str, config: SwimConfig, slow_count: int, seconds: int, seed: int) -> Row:
    """Some members process messages slowly: they stand still for 0.1 to 16 s, and run for 0.1 to 2 s, in turns."""
    cluster = make(members, config, Weather(loss=0.0), seed)
    cluster.run(5 * TICKS_PER_S)
    patients = [f"member-{number * 3 + 1}" for number in range(slow_count)]
    draw = random.Random(f"{seed}/slow")
    end = cluster.now + seconds * TICKS_PER_S

    def stall(name: str) -> Callable[[], None]:
        def act() -> None:
            if cluster.now >= end:
                return
            cluster.set_slow(name, True)
            # Evenly over the orders of magnitude, as the paper's durations are: 128 ms to 16 s.
            cluster.at(cluster.now + TICKS_PER_S * 0.128 * 2 ** draw.uniform(0, 7), run(name))

        return act

    def run(name: str) -> Callable[[], None]:
        def act() -> None:
            cluster.set_slow(name, False)
            cluster.at(cluster.now + TICKS_PER_S * 0.1 * 2 ** draw.uniform(0, 4.3), stall(name))

        return act

    for name in patients:
        cluster.at(cluster.now + draw.uniform(0, 20), stall(name))
    busy = per_second(cluster, seconds, lambda: cluster.run(seconds * TICKS_PER_S))
    wrong, healthy, _ = false_positives(cluster, (), patients)
    patient_failures = len(
        {
            (heard.subject, round(heard.tick / 50))
            for heard in cluster.heard
            if heard.kind is EventKind.FAILED and heard.subject in set(patients)
        }
    )
    return Row(
        "slow",
        members,
        variant,
        f"{slow_count} slow",
        {
            **busy,
            "false_failures": wrong,
            "false_failures_healthy": healthy,
            "slow_declared_dead": patient_failures,
            "seconds": seconds,
        },
    )


def join(members: int, variant: str, seed: int) -> Row:
    """One more member joins by one seed: until it knows all, and all know it."""
    cluster = make(members, VARIANTS[variant], Weather(), seed)
    cluster.run(5 * TICKS_PER_S)
    times: list[float] = []
    own: list[float] = []
    before = traffic(cluster)
    for number in range(3):
        name = f"new-{number}"
        node = cluster.add(name, VARIANTS[variant])
        start = cluster.now
        cluster.join(name, "member-0")
        cluster.run(30 * TICKS_PER_S, lambda node=node, total=members + number + 1: node.swim.living == total)
        own.append((cluster.now - start) / TICKS_PER_S)
        cluster.run(60 * TICKS_PER_S, cluster.agreed)
        heard = [item.tick for item in cluster.heard if item.subject == name and item.kind is EventKind.JOINED]
        times.append((max(heard) - start) / TICKS_PER_S)
    after = traffic(cluster)
    return Row(
        "join",
        members,
        variant,
        "loss 0%",
        {
            "knows_all_s": middle(own),
            "known_by_all_s": middle(times),
            "bytes_per_join": round((after[1] - before[1]) / 3),
        },
    )


def lifeguard_table(quick: bool) -> list[Row]:
    """The paper's table of mechanisms: 128 members, alpha 5, beta 6, K 3."""
    off = Mechanisms.without_lifeguard()
    base = SwimConfig(suspicion_factor=5, suspicion_max_factor=6, mechanisms=off)

    def with_(**changes: bool) -> SwimConfig:
        return dataclasses.replace(base, mechanisms=dataclasses.replace(off, **changes))

    variants = {
        "none (alpha 5)": base,
        "LHA-Probe": with_(health_aware_probes=True),
        "LHA-Suspicion": with_(shrinking_suspicion=True),
        "Buddy": with_(buddy=True),
        "all (alpha 5)": with_(health_aware_probes=True, shrinking_suspicion=True, buddy=True),
        "all (alpha 4, the default)": SwimConfig(),
    }
    seconds = 60 if quick else 200
    rows = []
    for count in (4, 16):
        for name, config in variants.items():
            rows.append(report(lambda n=name, k=config, c=count: slow(128, n, k, c, seconds, 5)))
    return [dataclasses.replace(row, part="mechanisms") for row in rows]


def report(work: Callable[[], Row]) -> Row:
    start = time.perf_counter()
    row = work()
    print(f"{time.perf_counter() - start:6.1f} s  {row}", file=sys.stderr, flush=True)
    return row


def measure(quick: bool, only: str | None) -> list[Row]:
    rows: list[Row] = []
    sizes = (10, 100) if quick else (10, 100, 1000)
    if only in (None, "deaths"):
        for members in sizes:
            for loss in (0.0, 0.01, 0.05):
                for variant in VARIANTS:
                    # More would leave the small cluster without a majority to measure by.
                    crashes, seeds = {10: (3, range(1, 13)), 100: (20, range(1, 3)), 1000: (10, range(1, 2))}[members]
                    rows.append(report(lambda m=members, v=variant, p=loss, c=crashes, s=seeds: deaths(m, v, p, s, c)))
    if only in (None, "slow"):
        for members in sizes:
            for variant in VARIANTS:
                seconds, count = {10: (600, 1), 100: (300, 4), 1000: (30, 40)}[members]
                rows.append(report(lambda m=members, v=variant, c=count, s=seconds: slow(m, v, VARIANTS[v], c, s, 2)))
    if only in (None, "join"):
        for members in sizes:
            rows += [report(lambda m=members, v=variant: join(m, v, 3)) for variant in (SWIM, FULL)]
    if only in (None, "mechanisms"):
        rows += lifeguard_table(quick)
    return rows


def table(rows: list[Row], part: str) -> str:
    chosen = [row for row in rows if row.part == part]
    if not chosen:
        return ""
    keys = list(chosen[0].figures)
    lines = [
        f"| members | variant | world | {' | '.join(HEADS.get(key, key) for key in keys)} |",
        f"|{'---|' * (3 + len(keys))}",
    ]
    for row in chosen:
        figures = " | ".join("" if row.figures[key] is None else f"{row.figures[key]:,}" for key in keys)
        lines.append(f"| {row.members:,} | {row.variant} | {row.weather} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.membership", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 and 100 members, and shorter")
    parser.add_argument("--only", choices=("deaths", "slow", "join", "mechanisms"), help="one part")
    arguments = parser.parse_args()
    rows = measure(arguments.quick, arguments.only)
    os.makedirs(OUT, exist_ok=True)
    with open(f"{OUT}/results.json", "w", encoding="utf-8") as file:
        json.dump([dataclasses.asdict(row) for row in rows], file, indent=1)
    for part in ("deaths", "slow", "join", "mechanisms"):
        if text := table(rows, part):
            print(f"\n{part}\n\n{text}")


if __name__ == "__main__":
    main()
