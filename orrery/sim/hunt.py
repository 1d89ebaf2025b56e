"""Plays seeds one after another, and tells what they came to."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from orrery.checkers.history import canonical
from orrery.sim.play import Play, commit, play
from orrery.terminal import paint, table

FAILURE_WIDTH = 90
"""Of a failure in the table; the whole of it stands in the replay."""


@dataclass(slots=True)
class Totals:
    """What a hunt came to."""

    seeds: int = 0
    virtual_s: float = 0.0
    took_s: float = 0.0
    """Of real time."""
    failures: list[Play] = field(default_factory=list)

    def __str__(self) -> str:
        took_s = max(self.took_s, 1e-9)
        return (
            f"{self.seeds} seeds: {self.seeds - len(self.failures)} passed, {len(self.failures)} failed; "
            f"{self.virtual_s:,.0f} virtual s in {self.took_s:,.1f} s: {self.virtual_s / took_s:.1f} simulated seconds "
            f"a second, {self.seeds / took_s * 3600:,.0f} seeds an hour"
        )


def hunt(
    scenario: str,
    seeds: range,
    *,
    without: str,
    minutes: float | None,
    as_json: bool,
    histories_dir: Path | None = None,
) -> int:
    """Plays every seed, or begins none any more after some minutes. Returns 0 when all passed, else 1.

    Raises OSError when histories cannot be written.
    """
    totals = Totals()
    one = len(seeds) == 1
    begun_s = time.monotonic()
    try:
        for seed in seeds:
            if minutes is not None and totals.seeds and totals.took_s >= minutes * 60:
                break
            before_s = time.monotonic()
            played = play(scenario, seed, without=without, histories_dir=histories_dir)
            now_s = time.monotonic()
            totals.seeds += 1
            totals.virtual_s += played.outcome.virtual_s
            totals.took_s = now_s - begun_s
            if not played.passed:
                totals.failures.append(played)
            if as_json:
                print(canonical(played.as_json()), flush=True)
            elif one:
                tell(played)
            else:
                print(f"{_line(played)} ({now_s - before_s:.2f} s)", flush=True)
                if not played.passed:
                    print(f"  {_shortened(played.failure)}", flush=True)
    finally:
        # Also when somebody has seen enough and interrupts.
        if not one:
            _tell_totals(totals, as_json=as_json)
    return 1 if totals.failures else 0


def _line(played: Play) -> str:
    outcome = played.outcome
    verdict = paint(f"{played.verdict:<7}", "green" if played.passed else "red", sys.stdout)
    counts = (
        f"{outcome.virtual_s:8.3f} virtual s {outcome.messages:8,} messages {outcome.bytes:10,} bytes"
        f" {outcome.syncs:6,} syncs  trace {outcome.trace_hash}"
    )
    return f"seed {outcome.seed:<6} {verdict} {counts}"


def _shortened(failure: str) -> str:
    line = failure.partition("\n")[0]
    return line if len(line) <= FAILURE_WIDTH else line[: FAILURE_WIDTH - 1] + "…"


def tell(played: Play) -> None:
    """Everything about one seed; of a failure how it came to it, and how to see it again."""
    print(_line(played))
    if played.passed:
        return
    print(f"\nThe last events:\n{played.story}\n\n{played.traceback}")
    print(f"{played.failure}\n")
    for path in played.histories:
        print(f"history: {path}")
    _tell_replay([played])


def _tell_replay(failures: Iterable[Play]) -> None:
    code = commit()
    for played in failures:
        print(f"seed {played.outcome.seed} at {code}: {played.replay}")


def _tell_totals(totals: Totals, *, as_json: bool) -> None:
    if as_json:
        print(totals, file=sys.stderr)
        return
    if totals.failures:
        rows = [
            (
                str(play.outcome.seed),
                play.verdict,
                play.checker or "-",
                f"{play.outcome.virtual_s:.3f}",
                _shortened(play.failure),
            )
            for play in totals.failures
        ]
        print("\n" + table(("SEED", "VERDICT", "CHECKER", "AT_S", "FAILURE"), rows, sys.stdout) + "\n")
        _tell_replay(totals.failures)
    print(f"\n{totals}")
