"""Judges locks by the history that kv itself kept: who stood at the head of a queue, from which revision to which.

Clients can only say what they were told and when. kv's revisions say what was true: a write that was accepted under a
token must lie in the revisions in which that token held the lock. So at each revision at most one token is good, which
is all that a lock with fencing promises. The rules are written anew here, and not taken from the service.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from orrery.sim.setting import Contradiction

FOR_EVER = 1 << 62


class Unlawful(Contradiction):
    """The lock service did what it must not."""

    def __init__(self, text: str) -> None:
        super().__init__("audit", text)


@dataclass(frozen=True, slots=True)
class Write:
    """A write that was done, whether its client knows it or not."""

    name: str
    token: int
    revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """A key below a lock's name was created or removed."""

    name: str
    key: bytes
    create_revision: int
    """0 when it was removed."""
    revision: int


@dataclass(slots=True)
class Tenure:
    """The revisions in which a token held its lock: from `since` on, and before `until`."""

    token: int
    since: int
    until: int = FOR_EVER


def tenures(changes: Iterable[Change]) -> dict[str, dict[int, Tenure]]:
    """By name and token: when each place was the first of its queue. `changes` in the order of revisions."""
    queues: dict[str, dict[bytes, int]] = {}
    found: dict[str, dict[int, Tenure]] = {}
    for change in changes:
        queue = queues.setdefault(change.name, {})
        held = found.setdefault(change.name, {})
        if change.create_revision:
            queue[change.key] = change.create_revision
        else:
            token = queue.pop(change.key, 0)
            if token in held:
                held[token].until = change.revision
        if queue:
            head = min(queue.values())
            held.setdefault(head, Tenure(head, change.revision))
    return found


def check(changes: Iterable[Change], writes: Iterable[Write], granted: Iterable[tuple[str, int]]) -> str:
    """Judges, and says in a line what was judged. Raises Unlawful."""
    held = tenures(changes)
    count = grants = 0
    for name, token in granted:
        grants += 1
        if token not in held.get(name, {}):
            raise Unlawful(f"{name}: a client was given token {token}, which never was at the head of the queue")
    for write in writes:
        count += 1
        tenure = held.get(write.name, {}).get(write.token)
        if tenure is None or not tenure.since <= write.revision < tenure.until:
            raise Unlawful(f"{write.name}: the write of revision {write.revision} was accepted under {tenure}")
    for name, by_token in held.items():
        ordered = sorted(by_token.values(), key=lambda tenure: tenure.since)
        for earlier, later in itertools.pairwise(ordered):
            if later.token <= earlier.token or later.since < earlier.until:
                raise Unlawful(f"{name}: {later} came before {earlier} was over, or out of turn")
    return f"{grants} grants and {count} writes of {len(held)} locks are lawful"
