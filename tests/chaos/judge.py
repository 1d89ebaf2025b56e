"""Judges a recorded history of puts to keys of their own, and of reads of what was acknowledged. Pure.

What is demanded, in the words of the promise that a linearizable store makes:

1. durable: a put that was acknowledged is in the store at the end, with its value, at the revision that was told;
2. once: no two acknowledged puts share a revision (every put is a transaction of its own here);
3. in order: if one put was acknowledged before another was asked for, its revision is smaller;
4. never stale: a read that was asked for after a put was acknowledged sees it;
5. nothing invented: what is in the store was asked for, and what definitely failed is not in it.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.chaos.history import Event

NANOSECONDS = 1_000_000_000


@dataclass
class Verdict:
    """What was found, and the figures that go with it."""

    faults: list[str] = field(default_factory=list)
    """What was broken, one line each; empty if every promise was kept."""
    acknowledged: int = 0
    failed: int = 0
    unknown: int = 0
    unknown_that_took_effect: int = 0
    reads: int = 0
    gap_s_max: float = 0.0
    """The longest time between two consecutive acknowledged puts."""
    gap_began_s: float = 0.0
    """When that gap began, in seconds from the first event."""

    def describe(self) -> str:
        """One line for a report."""
        return (
            f"{self.acknowledged} puts acknowledged, {self.failed} failed, {self.unknown} unknown "
            f"({self.unknown_that_took_effect} of them took effect), {self.reads} reads, "
            f"longest gap {self.gap_s_max:.3f} s at {self.gap_began_s:.1f} s, {len(self.faults)} faults"
        )


def judge(history: list[Event], store: Mapping[str, tuple[str, int]]) -> Verdict:
    """Compares a history with what the store holds at the end: key to value and modification revision."""
    verdict = Verdict()
    invoked = {(e.process, e.op): e for e in history if e.type == "invoke"}
    outcome = {(e.process, e.op): e for e in history if e.type != "invoke"}
    puts = {name: e for name, e in invoked.items() if e.f == "put"}
    acknowledged = [(puts[name], end) for name, end in outcome.items() if name in puts and end.type == "ok"]
    verdict.acknowledged = len(acknowledged)

    for start, end in acknowledged:
        held = store.get(start.key)
        if held is None:
            verdict.faults.append(f"lost: {start.key} was acknowledged at revision {end.revision} and is not there")
        elif held != (start.value, end.revision):
            verdict.faults.append(
                f"changed: {start.key} was {start.value!r}@{end.revision} and is {held[0]!r}@{held[1]}"
            )

    for name, start in puts.items():
        told = outcome.get(name)
        if told is not None and told.type == "fail":
            verdict.failed += 1
            if start.key in store:
                verdict.faults.append(f"undead: {start.key} failed for certain and is there")
        elif told is None or told.type == "info":
            verdict.unknown += 1
            verdict.unknown_that_took_effect += start.key in store
    asked_for = {e.key for e in puts.values()}
    verdict.faults += [f"invented: nobody put {key}" for key in store if key not in asked_for]

    verdict.faults += _disorder(acknowledged)
    verdict.faults += _stale(history, invoked, verdict)
    _measure_gap(history, [end.time_ns for _, end in acknowledged], verdict)
    return verdict


def _disorder(acknowledged: list[tuple[Event, Event]]) -> list[str]:
    """Checks 2 and 3 in one sweep over time: revisions known before an invocation are less than its own."""
    faults = []
    seen: dict[int, str] = {}
    for start, end in acknowledged:
        if end.revision in seen:
            faults.append(f"twice: {start.key} and {seen[end.revision]} share revision {end.revision}")
        seen[end.revision] = start.key
    # At the same instant an acknowledgement comes first only if it was strictly earlier, hence 0 for invocations.
    moments = [(start.time_ns, 0, start.key, end.revision) for start, end in acknowledged]
    moments += [(end.time_ns, 1, start.key, end.revision) for start, end in acknowledged]
    floor, floor_key = 0, ""
    for _, is_end, key, revision in sorted(moments):
        if is_end:
            if revision > floor:
                floor, floor_key = revision, key
        elif revision <= floor:
            faults.append(f"disorder: {key}@{revision} was asked for after {floor_key}@{floor} was acknowledged")
    return faults


def _stale(history: list[Event], invoked: Mapping[tuple[str, int], Event], verdict: Verdict) -> list[str]:
    """Check 4. A read's `ok` carries the revision of what it found, 0 for nothing."""
    faults = []
    known: dict[str, tuple[int, int]] = {}
    for event in history:
        if event.type == "ok" and event.f == "put":
            key = invoked[event.process, event.op].key
            known[key] = (event.time_ns, event.revision)
        elif event.type == "ok" and event.f == "get":
            verdict.reads += 1
            start = invoked[event.process, event.op]
            if start.key in known:
                acknowledged_at, revision = known[start.key]
                if acknowledged_at < start.time_ns and event.revision < revision:
                    faults.append(f"stale: {start.key}@{revision} was acknowledged, and read as @{event.revision}")
    return faults


def _measure_gap(history: list[Event], times: list[int], verdict: Verdict) -> None:
    times = sorted(times)
    for before, after in itertools.pairwise(times):
        gap = (after - before) / NANOSECONDS
        if gap > verdict.gap_s_max:
            verdict.gap_s_max = gap
            verdict.gap_began_s = (before - history[0].time_ns) / NANOSECONDS
