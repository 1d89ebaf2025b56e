"""Locks with fencing tokens: tokens strictly increase, and no token is good after a later one was given.

| f | key | value of the invocation | value of the completion |
|---|---|---|---|
| `acquire` | lock | null | the token, an integer; `fail` when the lock was not given |
| `renew`, `fenced-write` | lock | the token | null; `ok` only when the token was accepted |
| `release` | lock | the token | null; `ok` only when it was still the holder's |

A lease may run out while its holder sleeps, so two clients may believe to hold a lock, and that is no anomaly. It is
one when the lock service, or what it protects, accepts a token after a later one was given.
Reference: Kleppmann, "How to do distributed locking", 2016; Burrows, "The Chubby lock service", OSDI 2006, section 2.4.
"""

from collections import defaultdict
from dataclasses import dataclass

from orrery.checkers.history import NEVER, History, Operation, canonical
from orrery.checkers.machine import ModelMismatch
from orrery.checkers.verdict import Anomaly, Limits, Verdict, from_anomalies

USES = ("renew", "fenced-write", "release")


@dataclass(frozen=True, slots=True)
class Touch:
    """A token given or accepted."""

    operation: Operation
    token: int

    @property
    def name(self) -> str:
        """In words."""
        return f"process {self.operation.process} ({self.operation.lines})"


def judge_lock(history: History, limits: Limits) -> Verdict:
    """Judges all locks. Raises ModelMismatch."""
    grants: dict[str, list[Touch]] = defaultdict(list)
    uses: dict[str, list[Touch]] = defaultdict(list)
    open_since: dict[str, int] = {}
    for operation in history.operations:
        if operation.f != "acquire" and operation.f not in USES:
            raise ModelMismatch(operation, "a lock knows acquire, renew, fenced-write and release")
        token = operation.output if operation.f == "acquire" else operation.input
        if operation.f == "acquire" and operation.outcome == "info":
            open_since.setdefault(canonical(operation.key), operation.invoked)
        if operation.outcome != "ok":
            continue
        if type(token) is not int:
            raise ModelMismatch(operation, "a fencing token is an integer")
        (grants if operation.f == "acquire" else uses)[canonical(operation.key)].append(Touch(operation, token))
    anomalies: list[Anomaly] = []
    for lock in sorted(grants.keys() | uses.keys()):
        anomalies += _check_tokens(lock, grants[lock])
        anomalies += _check_uses(lock, grants[lock], uses[lock], open_since.get(lock, NEVER))
    judged = sum(map(len, grants.values())) + sum(map(len, uses.values()))
    good = (
        f"{sum(map(len, grants.values()))} grants of {len(grants)} locks: tokens strictly increase, none is used late"
    )
    return from_anomalies("lock", anomalies, judged, good, limits)


def _check_tokens(lock: str, grants: list[Touch]) -> list[Anomaly]:
    """Tokens are unique and rise with real time. O(n log n)."""
    anomalies = []
    first: dict[int, Touch] = {}
    for grant in grants:
        other = first.setdefault(grant.token, grant)
        if other is not grant:
            text = f"lock {lock}: token {grant.token} was given to {other.name} and to {grant.name}"
            anomalies.append(_anomaly("token-given-twice", text, grant, other))
    events = sorted(
        [(grant.operation.invoked, 0, place) for place, grant in enumerate(grants)]
        + [(grant.operation.completed, 1, place) for place, grant in enumerate(grants)]
    )
    highest: Touch | None = None
    for _, completes, place in events:
        grant = grants[place]
        if completes:
            highest = grant if highest is None or grant.token > highest.token else highest
        elif highest is not None and grant.token < highest.token:
            text = f"lock {lock}: {grant.name} got token {grant.token} after {highest.name} had got {highest.token}"
            anomalies.append(_anomaly("token-went-back", text, grant, highest))
    return anomalies


def _check_uses(lock: str, grants: list[Touch], uses: list[Touch], open_since: int) -> list[Anomaly]:
    """A token is accepted only after it was given, and before it was released or a later one was given.

    From line `open_since` on there is an `acquire` without an answer, which may have given any token.
    """
    anomalies = []
    given = {grant.token: grant for grant in reversed(grants)}
    released: dict[int, Touch] = {}
    by_completion = sorted(grants, key=lambda grant: grant.operation.completed)
    place = 0
    highest: Touch | None = None
    # In the order in which they were asked for: what was over by then is compared with.
    for use in sorted(uses, key=lambda use: use.operation.invoked):
        while place < len(by_completion) and by_completion[place].operation.completed < use.operation.invoked:
            grant = by_completion[place]
            highest = grant if highest is None or grant.token > highest.token else highest
            place += 1
        verb = f"{use.operation.f} with token {use.token} by {use.name} was accepted"
        grant_of_use = given.get(use.token)
        if grant_of_use is None and use.operation.completed > open_since:
            pass
        elif grant_of_use is None:
            anomalies.append(_anomaly("token-never-given", f"lock {lock}: {verb}, but that token was never given", use))
        elif use.operation.precedes(grant_of_use.operation):
            text = f"lock {lock}: {verb} before the token was asked for by {grant_of_use.name}"
            anomalies.append(_anomaly("token-never-given", text, use, grant_of_use))
        if highest is not None and highest.token > use.token:
            text = f"lock {lock}: {verb} after {highest.name} had got token {highest.token}: two holders"
            others = [highest] if grant_of_use is None else [highest, grant_of_use]
            anomalies.append(_anomaly("two-holders", text, use, *others))
        end = released.get(use.token)
        if end is not None and end.operation.precedes(use.operation):
            anomalies.append(
                _anomaly("used-after-release", f"lock {lock}: {verb} after its release by {end.name}", use, end)
            )
        if use.operation.f == "release" and (end is None or use.operation.completed < end.operation.completed):
            released[use.token] = use
    return anomalies


def _anomaly(name: str, text: str, culprit: Touch, *others: Touch) -> Anomaly:
    touches = {touch.operation.number: touch for touch in (culprit, *others)}
    operations = sorted((touch.operation for touch in touches.values()), key=lambda operation: operation.invoked)
    labels = {number: f"{touch.operation.f} token {touch.token}" for number, touch in touches.items()}
    return Anomaly(name, text, tuple(operations), frozenset({culprit.operation.number}), labels=labels)
