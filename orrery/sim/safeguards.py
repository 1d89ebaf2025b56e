"""Takes one safeguard after another away, and hunts the seed that shows it: a test of the tests.

What counts is a judge that was told by clients what is wrong, or that compares the members. That a run hangs, or that a
member finds out by itself, shows nothing about the judges.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from orrery.sim.play import play
from orrery.terminal import table

JUDGES = frozenset({"kv", "watch", "lock", "audit", "lease", "list-append", "convergence"})
"""Whose word counts."""
HINT_WIDTH = 80


@dataclass(frozen=True, slots=True)
class Proof:
    """Where the lack of a safeguard is to be found."""

    safeguard: str
    scenario: str
    seed: int
    """One that shows it, with this version of the code."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a hunt came to."""

    proof: Proof
    seed: int | None
    """The first that shows it; None: none did."""
    checker: str
    failure: str
    passes: bool
    """Whether the same seed passes with the safeguard on."""
    seeds: int
    """How many were played."""
    took_s: float


def find(proof: Proof, seeds: range) -> Found:
    """Plays seeds without the safeguard until a judge says no, and the one that did with it."""
    began_s = time.monotonic()
    for count, seed in enumerate(seeds, 1):
        played = play(proof.scenario, seed, without=proof.safeguard)
        if played.verdict == "no" and played.checker in JUDGES:
            took_s = time.monotonic() - began_s
            passes = play(proof.scenario, seed).passed
            return Found(proof, seed, played.checker, played.failure, passes, count, took_s)
    return Found(proof, None, "", "", False, len(seeds), time.monotonic() - began_s)


def safeguards(proofs: Sequence[Proof], seeds: range) -> int:
    """Hunts for each, and prints a table. Returns 0 when every one was found, and passes when it is there, else 1."""
    all_found: list[Found] = []
    for proof in proofs:
        found = find(proof, seeds)
        all_found.append(found)
        print(f"{proof.safeguard}: {_in_short(found)}", flush=True)
    rows = [
        (
            found.proof.safeguard,
            found.proof.scenario,
            "none" if found.seed is None else str(found.seed),
            found.checker or "-",
            f"{found.took_s:.1f}",
            "yes" if found.passes else "NO",
        )
        for found in all_found
    ]
    header = ("SAFEGUARD", "SCENARIO", "SEED", "CHECKER", "SECONDS", "PASSES WITH IT")
    print("\n" + table(header, rows, sys.stdout))
    good = sum(found.seed is not None and found.passes for found in all_found)
    print(f"\n{good} of {len(all_found)} safeguards: found when they lack, and only then")
    return 0 if good == len(all_found) else 1


def _in_short(found: Found) -> str:
    if found.seed is None:
        return f"no seed of {found.seeds} shows it"
    line = found.failure.partition("\n")[0]
    return f"seed {found.seed} ({found.took_s:.1f} s), {line[:HINT_WIDTH]}"
