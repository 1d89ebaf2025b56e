"""Leases: none ends before its time, none comes back, and all that hangs on one goes at once.

| f | key | value of the invocation | value of the completion |
|---|---|---|---|
| `grant` | lease | `{"ttl_s": 3}` | `{"ttl_s": 3}`: what was granted |
| `attach` | lease | the key that shall live as long | `{"there": true}`; false: there is no such lease |
| `keepalive` | lease | null | `{"ttl_s": 3}`; 0: there is no such lease |
| `revoke` | lease | null | `{"there": true}`; false: there was no such lease |
| `look` | lease | null | `{"keys": ["a", "b"]}`: which of its keys are there, read at once |

An id is granted once, its keys belong to no other lease, and nobody else deletes them. Unlike elsewhere, `time` is
judged here, so it must come from one clock: the simulator's, or that of one machine. Clocks of the servers may be wrong
by DRIFT_MAX of what they measure. That a lease ends in the end is for whoever makes the history to wait for.
Reference: Gray and Cheriton, "Leases", SOSP 1989.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from orrery.checkers.history import History, Json, Operation, canonical
from orrery.checkers.machine import ModelMismatch
from orrery.checkers.verdict import Anomaly, Limits, Verdict, from_anomalies

DRIFT_MAX = 0.02
"""A part of every duration: how much too fast a server's clock may run."""
_State: TypeAlias = Literal["there", "gone"]


@dataclass(slots=True)
class _Lease:
    """What is known of one."""

    name: str
    seen: list[tuple[Operation, _State]] = field(default_factory=list)
    """Answers that told whether it was there, in the order of invocations."""
    promises: list[tuple[Operation, float]] = field(default_factory=list)
    """Grants and renewals that were acknowledged, and for how many seconds."""
    revokes: list[Operation] = field(default_factory=list)
    """Those that may have taken effect."""
    attached: list[Operation] = field(default_factory=list)
    looks: list[tuple[Operation, frozenset[str]]] = field(default_factory=list)


def judge_lease(history: History, limits: Limits) -> Verdict:
    """Judges all leases. Raises ModelMismatch."""
    leases: dict[str, _Lease] = {}
    answered = 0
    for operation in history.operations:
        name = canonical(operation.key)
        answered += operation.outcome == "ok"
        _take(leases.setdefault(name, _Lease(name)), operation)
    anomalies: list[Anomaly] = []
    for lease in leases.values():
        _see_looks(lease)
        anomalies += _check_early(lease)
        anomalies += _check_revived(lease)
        anomalies += _check_together(lease)
    good = f"{len(leases)} leases: none ended early, none came back, each with all its keys"
    return from_anomalies("lease", anomalies, answered, good, limits)


def _take(lease: _Lease, operation: Operation) -> None:
    f = operation.f
    if f not in ("grant", "attach", "keepalive", "revoke", "look"):
        raise ModelMismatch(operation, "a lease knows grant, attach, keepalive, revoke and look")
    if f == "revoke" and operation.outcome != "fail":
        lease.revokes.append(operation)
    if operation.outcome != "ok":
        return
    told = operation.output
    if not isinstance(told, dict):
        raise ModelMismatch(operation, "an object is wanted")
    if f in ("grant", "keepalive"):
        ttl_s = told.get("ttl_s")
        if type(ttl_s) is not int:
            raise ModelMismatch(operation, "ttl_s is an integer")
        lease.seen.append((operation, "there" if ttl_s > 0 else "gone"))
        if ttl_s > 0:
            lease.promises.append((operation, ttl_s))
    elif f == "look":
        keys = told.get("keys")
        if not isinstance(keys, list):
            raise ModelMismatch(operation, "keys are a list")
        lease.looks.append((operation, frozenset(map(canonical, keys))))
    else:
        there = told.get("there")
        if type(there) is not bool:
            raise ModelMismatch(operation, "there is true or false")
        # A revoke that succeeds ends it: what it saw is no longer so.
        if f == "attach" or not there:
            lease.seen.append((operation, "there" if there else "gone"))
        if f == "attach" and there:
            lease.attached.append(operation)


def _see_looks(lease: _Lease) -> None:
    """A look tells of the lease when a key is surely attached; one key is enough to tell that it is there."""
    for look, keys in lease.looks:
        surely = [each for each in lease.attached if each.precedes(look)]
        if keys:
            lease.seen.append((look, "there"))
        elif surely:
            lease.seen.append((look, "gone"))
    lease.seen.sort(key=lambda seen: seen[0].invoked)


def _check_early(lease: _Lease) -> list[Anomaly]:
    """Nobody saw it gone before its time, unless somebody may have revoked it."""
    anomalies = []
    for gone, state in lease.seen:
        if state == "there" or any(revoke.invoked < gone.completed for revoke in lease.revokes):
            continue
        for promise, ttl_s in lease.promises:
            # Its time began after it was asked for, so this is the earliest end.
            end_ns = promise.invoked_ns + int(ttl_s * (1 - DRIFT_MAX) * 1e9)
            if gone.completed_ns < end_ns and not gone.precedes(promise):
                left_s = (end_ns - gone.completed_ns) / 1e9
                text = (
                    f"lease {lease.name} was gone for the {gone.f} of {gone.lines}, at least {left_s:.3f} s before the "
                    f"{ttl_s:g} s were over that the {promise.f} of {promise.lines} had got"
                )
                anomalies.append(_anomaly("ended-early", text, gone, promise))
                break
    return anomalies


def _check_revived(lease: _Lease) -> list[Anomaly]:
    """Nobody sees it after it was gone, or after it was revoked."""
    anomalies = []
    ended = [seen for seen, state in lease.seen if state == "gone"]
    ended += [revoke for revoke in lease.revokes if revoke.outcome == "ok"]
    first = min(ended, key=lambda operation: operation.completed, default=None)
    if first is None:
        return []
    for seen, state in lease.seen:
        if state == "there" and first.precedes(seen):
            text = (
                f"lease {lease.name} was there for the {seen.f} of {seen.lines}, after its end was known to the "
                f"{first.f} of {first.lines}"
            )
            anomalies.append(_anomaly("came-back", text, seen, first))
    return anomalies


def _check_together(lease: _Lease) -> list[Anomaly]:
    """A look that shows one key shows all that were attached before it."""
    anomalies = []
    for look, keys in lease.looks:
        missing = [each for each in lease.attached if each.precedes(look) and canonical(each.input) not in keys]
        if keys and missing:
            text = (
                f"lease {lease.name}: the look of {look.lines} shows {', '.join(sorted(keys))}, but not "
                f"{canonical(missing[0].input)}, which the attach of {missing[0].lines} had attached"
            )
            anomalies.append(_anomaly("torn-end", text, look, missing[0]))
    return anomalies


def _anomaly(name: str, text: str, culprit: Operation, other: Operation) -> Anomaly:
    operations = sorted((culprit, other), key=lambda operation: operation.invoked)
    labels = {each.number: f"{each.f} {_short(each.output)}" for each in operations}
    return Anomaly(name, text, tuple(operations), frozenset({culprit.number}), labels=labels)


def _short(value: Json) -> str:
    return "" if value is None else canonical(value)
