"""Which process of the registry looks after a check: rendezvous hashing, kept up to date step by step.

Thaler, Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM Transactions on Networking 6(1), 1998:
each (process, check) has a score that everybody computes alike, and the process with the highest owns the check. A
process that comes takes only what it wins; of one that goes, only its own checks move, evenly to all others.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from xxhash import xxh3_64_intdigest


class Moves(NamedTuple):
    """What a change of the processes changed for this one."""

    gained: list[str]
    lost: list[str]


def check_key(node: str, check_id: str) -> str:
    """One string for a check. Names hold no control characters, so no two checks share one."""
    return f"{node}\0{check_id}"


def split_key(key: str) -> tuple[str, str]:
    """The node and the check's id."""
    node, _, check_id = key.partition("\0")
    return node, check_id


class Ownership:
    """Owners of all checks that there are, seen by the process `name`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seeds: dict[str, int] = {}
        self._owners: dict[str, tuple[int, str]] = {}
        """Score and owner. Without processes nobody owns anything: (-1, "")."""
        self._own: dict[str, None] = {}

    def __len__(self) -> int:
        """How many checks this process owns."""
        return len(self._own)

    def __contains__(self, key: str) -> bool:
        return key in self._own

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def known(self) -> list[str]:
        """All checks, whoever owns them."""
        return list(self._owners)

    def owner(self, key: str) -> str:
        """Who owns a check; empty when it is unknown, or there is no process."""
        return self._owners.get(key, (-1, ""))[1]

    def add(self, key: str) -> bool:
        """A check is there, now or already; whether it is this process's. O(processes)."""
        if key not in self._owners:
            self._place(key)
        return key in self._own

    def discard(self, key: str) -> bool:
        """A check is gone; whether it was this process's."""
        self._owners.pop(key, None)
        return self._own.pop(key, 1) is None

    def change(self, processes: Sequence[str]) -> Moves:
        """Other processes live now. O(checks) for each that came, and for each that went its own share of them."""
        seeds = {name: xxh3_64_intdigest(name.encode()) for name in processes}
        came = [name for name in seeds if name not in self._seeds]
        went = {name for name in self._seeds if name not in seeds}
        if not came and not went:
            return Moves([], [])
        before = dict(self._own)
        self._seeds = seeds
        for key, held in list(self._owners.items()):
            if held[1] in went:
                self._place(key)
                continue
            raw = key.encode()
            best = max([held, *((xxh3_64_intdigest(raw, seeds[name]), name) for name in came)])
            if best is not held:
                self._give(key, best)
        return Moves([key for key in self._own if key not in before], [key for key in before if key not in self._own])

    def _place(self, key: str) -> None:
        raw = key.encode()
        marks = ((xxh3_64_intdigest(raw, seed), name) for name, seed in self._seeds.items())
        self._give(key, max(marks, default=(-1, "")))

    def _give(self, key: str, mark: tuple[int, str]) -> None:
        self._owners[key] = mark
        if mark[1] == self._name:
            self._own[key] = None
        else:
            self._own.pop(key, None)
