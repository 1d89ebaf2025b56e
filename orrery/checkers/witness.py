"""An order of a store's operations, read off the revisions that their answers tell, instead of searched for.

A revision counts the changes of the whole store, and an answer tells the revision at which it was given. So a correct
store's answers stand in order already: by revision, what made it before what only saw it. Operations without an answer
have the revision at which somebody saw their change, be it a get or a watch; those that nobody saw are left out. What
comes of it is tried out step by step. When it fits, it is a proof, whoever proposed it; when it does not, nothing is
said, and the search decides. O(n log n) for what it decides, which is everything that a correct store does, unless a
change without an answer was seen by nobody and still matters.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from orrery.checkers.history import NEVER, History, Json, Operation, canonical
from orrery.checkers.kv_calls import KvCall, Step, keys_of, parse_call
from orrery.checkers.machine import Item, Problem, State

STATES_MAX = 16
"""States that are followed at once: transactions without an answer may have taken either branch."""
_ABSENT = "null"


@dataclass(frozen=True, slots=True)
class _Lost:
    """An operation without an answer, and what it may have changed: keys and new values, null for deleted."""

    operation: Operation
    changes: frozenset[tuple[str, str]]


def seen_revisions(history: History) -> dict[int, int]:
    """By number of an operation without an answer: the revision that was seen of it. Raises ModelMismatch."""
    made: set[int] = set()
    lost: list[_Lost] = []
    seen: dict[int, set[tuple[str, str]]] = defaultdict(set)
    for operation in history.operations:
        if operation.f == "watch":
            for revision, key, value in _events(operation.output):
                seen[revision].add((key, value))
            continue
        names = [canonical(key) for key in keys_of(operation)]
        places = {name: place for place, name in enumerate(dict.fromkeys(names))}
        call = parse_call(operation, places)
        if call is None:
            continue
        keys = list(places)
        if operation.outcome == "info":
            steps = (step for branch in (call.then, call.otherwise) for step in branch if step.kind != "get")
            changes = frozenset((keys[step.key], step.value) for step in steps)
            lost.append(_Lost(operation, changes))
            continue
        if call.revision is not None and _changes(call):
            made.add(call.revision)
        for step in _taken(call):
            if step.kind == "get" and step.seen is not None and step.seen.mod and step.seen.value is not None:
                seen[step.seen.mod].add((keys[step.key], step.seen.value))
    return _attributed(lost, {revision: seen[revision] for revision in sorted(seen.keys() - made)})


def _attributed(lost: list[_Lost], seen: Mapping[int, set[tuple[str, str]]]) -> dict[int, int]:
    """Gives each revision to the first that can have made it. A guess, where several can."""
    makers: dict[tuple[str, str], list[_Lost]] = defaultdict(list)
    for each in lost:
        for change in each.changes:
            makers[change].append(each)
    revisions: dict[int, int] = {}
    for revision, changes in seen.items():
        for candidate in makers[min(changes)]:
            if candidate.operation.number not in revisions and changes <= candidate.changes:
                revisions[candidate.operation.number] = revision
                break
    return revisions


def _events(output: Json) -> Iterable[tuple[int, str, str]]:
    """What a watch told, passing over what is no event: that is for the judge of watches to say."""
    events = output.get("events") if isinstance(output, dict) else None
    for event in events if isinstance(events, list) else ():
        if isinstance(event, dict) and type(revision := event.get("revision")) is int:
            value = event.get("value") if event.get("type") == "put" else None
            yield revision, canonical(event.get("key")), canonical(value)


def is_explained(problem: Problem, seen: Mapping[int, int]) -> bool:
    """Whether the order by revisions explains every answer of a problem over a KvMachine. False says nothing."""
    placed: list[tuple[int, int, int, Item]] = []
    for item in problem.items:
        call = item.call[0]
        assert isinstance(call, KvCall)
        if item.pending:
            revision = seen.get(item.operation.number)
            if revision is not None:
                known = replace(item, call=(replace(call, revision=revision),))
                placed.append((revision, 0, item.operation.invoked, known))
        elif call.revision is None:
            return False
        else:
            placed.append((call.revision, 0 if _changes(call) else 1, item.operation.invoked, item))
    placed.sort(key=lambda each: each[:3])
    states: list[State] = [problem.machine.initial()]
    newest = 0
    for *_, item in placed:
        over = NEVER if item.pending else item.operation.completed
        if over < newest:
            return False
        newest = max(newest, item.operation.invoked)
        after = [following for state in states for following in problem.machine.step(state, item.call)]
        states = list(dict.fromkeys(after))
        if not states or len(states) > STATES_MAX:
            return False
    return True


def _taken(call: KvCall) -> tuple[Step, ...]:
    return call.otherwise if call.succeeded is False else call.then


def _changes(call: KvCall) -> bool:
    return any(step.kind == "put" or step.deleted for step in _taken(call))
