"""The revisions of a whole key-value store: given once, never going back.

A revision counts the changes of all keys, so it joins what the linearizability judge takes apart by key. Two rules,
each of which every linearizable store with one counter obeys:

1. Two answered operations that changed something never tell the same revision.
2. An operation tells no lower revision than one that was over before it began; if it changed something, a higher one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orrery.checkers.history import History, Operation, canonical
from orrery.checkers.kv_calls import KvCall, keys_of, parse_call
from orrery.checkers.verdict import Anomaly


@dataclass(frozen=True, slots=True)
class Told:
    """An answered operation that told the store's revision."""

    operation: Operation
    revision: int
    changes: bool
    """Whether it surely changed something, and so made that revision."""


def told_revisions(history: History) -> list[Told]:
    """All that is told, in the order of invocations. Raises ModelMismatch."""
    told = []
    for operation in history.operations:
        if operation.outcome != "ok" or operation.f == "watch":
            continue
        places = {canonical(key): place for place, key in enumerate(keys_of(operation))}
        call = parse_call(operation, places)
        if call is not None and call.revision is not None:
            told.append(Told(operation, call.revision, _changes(call)))
    return told


def _changes(call: KvCall) -> bool:
    steps = call.otherwise if call.succeeded is False else call.then
    return any(step.kind == "put" or step.deleted for step in steps)


def check_revisions(told: Sequence[Told]) -> list[Anomaly]:
    """The anomalies, in the order of lines. O(n log n)."""
    anomalies = []
    makers: dict[int, Told] = {}
    for each in told:
        if each.changes:
            other = makers.setdefault(each.revision, each)
            if other is not each:
                text = f"revision {each.revision} was given to two changes: {_name(other)} and {_name(each)}"
                anomalies.append(_anomaly("revision-given-twice", text, other, each))
    events = sorted(
        [(each.operation.invoked, 0, place) for place, each in enumerate(told)]
        + [(each.operation.completed, 1, place) for place, each in enumerate(told)]
    )
    highest: Told | None = None
    for _, completes, place in events:
        each = told[place]
        if completes:
            if highest is None or each.revision > highest.revision:
                highest = each
        elif highest is not None and each.revision < highest.revision + int(each.changes):
            text = f"{_name(each)} told revision {each.revision}, after {_name(highest)} had told {highest.revision}"
            anomalies.append(_anomaly("revision-went-back", text, highest, each))
    return anomalies


def _name(told: Told) -> str:
    return f"the {told.operation.f} of process {told.operation.process} ({told.operation.lines})"


def _anomaly(name: str, text: str, first: Told, second: Told) -> Anomaly:
    operations = sorted((first.operation, second.operation), key=lambda operation: operation.invoked)
    labels = {each.operation.number: f"{each.operation.f}, revision {each.revision}" for each in (first, second)}
    return Anomaly(name, text, tuple(operations), frozenset({second.operation.number}), labels=labels)
