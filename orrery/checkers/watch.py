"""Watches against the revisions: events in order, each once, none missing, and resumable without a gap.

The history holds the changes in the format of `kv` (`put`, `delete`, `cas`, `txn`; see kv_calls.py), and watches:

- `f` "watch", invoked with `{"key": k}` or `{"prefix": p}` or neither for everything, `"from"` the first revision
  wanted (absent: only what comes after the watch was made), and `"id"`: watches of one process with the same id are
  one watch that was broken and resumed.
- Completed, with `ok` or `info`, with `{"events": [...], "revision": r, "compacted": c, "since": s}`. An event is
  `{"type": "put" or "delete", "key", "value", "revision"}`; `revision` is how far the watch surely was (a progress
  notification), by default the last event's; `compacted` that it was ended because history up to `c` is gone; `since`
  the revision at which a watch without `from` was made: from there on, it owes everything.
"""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TypeAlias

from orrery.checkers.history import NEVER, History, Json, Key, Operation, canonical
from orrery.checkers.kv_calls import KvCall, Step, keys_of, parse_call
from orrery.checkers.machine import ModelMismatch
from orrery.checkers.verdict import Anomaly, Limits, Verdict, from_anomalies

EVENTS_MAX = 1_000_000
"""In one watch."""
_ABSENT = "null"
Change: TypeAlias = tuple[str, str]
"""A key and its new value as canonical JSON; null for deleted."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event that a watch told."""

    key: str
    value: str
    """Canonical JSON; null for a deletion."""
    revision: int


@dataclass(frozen=True, slots=True)
class Watch:
    """One watch from its creation to its end."""

    operation: Operation
    identity: str
    key: str | None
    prefix: str | None
    start: int | None
    events: tuple[WatchEvent, ...]
    until: int
    """It told everything up to this revision; -1 when nothing is known."""
    compacted: int

    def wants(self, key: str) -> bool:
        """Whether it watches a key (canonical JSON)."""
        if self.key is not None:
            return key == self.key
        # Canonical JSON of a string begins with a quote, and a prefix is the same text without the closing one.
        return self.prefix is None or key.startswith(self.prefix)

    @property
    def name(self) -> str:
        """In words."""
        return f"the watch of process {self.operation.process} ({self.operation.lines})"


@dataclass(slots=True)
class _Changes:
    """What is known of the changes."""

    by_revision: dict[int, dict[str, tuple[str, Operation]]] = field(default_factory=dict)
    """Revision, key: new value, and who changed it."""
    open: dict[Change, list[Operation]] = field(default_factory=lambda: defaultdict(list))
    """Changes whose revision nobody told; they may be at any."""
    failed: dict[Change, list[Operation]] = field(default_factory=lambda: defaultdict(list))
    revisions: list[int] = field(default_factory=list)
    """Sorted."""


def judge_watch(history: History, limits: Limits) -> Verdict:
    """Judges all watches. Raises ModelMismatch."""
    changes = _changes([operation for operation in history.operations if operation.f != "watch"])
    watches = [_parse(operation) for operation in history.operations if operation.f == "watch"]
    anomalies: list[Anomaly] = []
    for watch in watches:
        anomalies += _check_order(watch)
        anomalies += _check_events(watch, changes)
    for sessions in _sessions(watches):
        anomalies += _check_complete(sessions, changes)
        anomalies += _check_resumed(sessions)
    anomalies += _check_agreement(watches)
    anomalies += _check_once(watches, changes)
    told = sum(len(watch.events) for watch in watches)
    judged = len([watch for watch in watches if watch.events or watch.until >= 0])
    good = f"{told} events of {len(watches)} watches: in order, each once, none missing"
    return from_anomalies("watch", anomalies, judged, good, limits)


def _changes(operations: list[Operation]) -> _Changes:
    changes = _Changes()
    for operation in operations:
        names = [canonical(key) for key in keys_of(operation)]
        places = {name: place for place, name in enumerate(dict.fromkeys(names))}
        call = parse_call(operation, places)
        keys = list(places)
        if call is None:
            if operation.outcome == "fail":
                for change in _asked(operation, keys, places):
                    changes.failed[change].append(operation)
            continue
        for change, sure in _made(call, keys):
            if call.revision is not None and sure:
                changes.by_revision.setdefault(call.revision, {})[change[0]] = (change[1], operation)
            else:
                changes.open[change].append(operation)
    changes.revisions = sorted(changes.by_revision)
    return changes


def _made(call: KvCall, keys: list[str]) -> list[tuple[Change, bool]]:
    """The last change to each key, and whether it surely happened: a deletion may have found nothing."""
    branches = {True: (call.then,), False: (call.otherwise,), None: (call.then, call.otherwise)}[call.succeeded]
    made: list[tuple[Change, bool]] = []
    for steps in branches:
        last: dict[int, Step] = {step.key: step for step in steps if step.kind != "get" and step.deleted != 0}
        for place, step in last.items():
            sure = step.kind == "put" or bool(step.deleted)
            made.append(((keys[place], step.value), sure and call.succeeded is not None))
    return made


def _asked(operation: Operation, keys: list[str], places: dict[str, int]) -> list[Change]:
    """What a failed operation would have changed."""
    as_open = Operation(
        operation.number,
        operation.process,
        operation.f,
        operation.key,
        operation.input,
        None,
        "info",
        operation.invoked,
        NEVER,
    )
    call = parse_call(as_open, places)
    return [] if call is None else [change for change, _ in _made(call, keys)]


def _parse(operation: Operation) -> Watch:
    request = _object(operation, operation.input)
    answer = _object(operation, operation.output) if operation.outcome != "fail" else {}
    events = _events(operation, answer.get("events"))
    until, start, compacted, since = (
        _integer(operation, value)
        for value in (answer.get("revision"), request.get("from"), answer.get("compacted"), answer.get("since"))
    )
    if not start and since is not None:
        start = since + 1
    key, prefix = request.get("key"), request.get("prefix")
    if prefix is not None and not isinstance(prefix, str):
        raise ModelMismatch(operation, "a prefix is a string")
    last = max((event.revision for event in events), default=-1)
    return Watch(
        operation,
        canonical([operation.process, request.get("id", operation.number)]),
        None if key is None else canonical(key),
        None if prefix is None else canonical(prefix)[:-1],
        start,
        events,
        max(last, -1 if until is None else until),
        -1 if compacted is None else compacted,
    )


def _events(operation: Operation, value: Json) -> tuple[WatchEvent, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > EVENTS_MAX:
        raise ModelMismatch(operation, f"events are a list of at most {EVENTS_MAX}")
    events = []
    for each in value:
        fields = _object(operation, each)
        revision, key = _integer(operation, fields.get("revision")), fields.get("key")
        if fields.get("type") not in ("put", "delete") or revision is None or not isinstance(key, str | int):
            raise ModelMismatch(operation, 'an event is {"type": "put" or "delete", "key", "value", "revision"}')
        told = fields.get("value") if fields["type"] == "put" else None
        events.append(WatchEvent(canonical(key), canonical(told), revision))
    return tuple(events)


def _object(operation: Operation, value: Json) -> dict[str, Json]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ModelMismatch(operation, "a watch carries objects")
    return value


def _integer(operation: Operation, value: Json) -> int | None:
    if value is not None and type(value) is not int:
        raise ModelMismatch(operation, "a revision is an integer")
    return value


def _check_order(watch: Watch) -> list[Anomaly]:
    """Revisions rise; a key is told once in a revision; nothing from before the start."""
    anomalies = []
    last = -1
    seen: set[tuple[int, str]] = set()
    for event in watch.events:
        where = f"{event.key} at revision {event.revision}"
        if (event.revision, event.key) in seen:
            anomalies.append(_anomaly("duplicated", f"{watch.name} told {where} twice", watch))
        elif event.revision < last:
            anomalies.append(_anomaly("reordered", f"{watch.name} told {where} after revision {last}", watch))
        if watch.start and event.revision < watch.start:
            text = f"{watch.name} told {where}, though it began at {watch.start}"
            anomalies.append(_anomaly("before-start", text, watch))
        if not watch.wants(event.key):
            anomalies.append(_anomaly("not-asked-for", f"{watch.name} told {where}, which it does not watch", watch))
        seen.add((event.revision, event.key))
        last = max(last, event.revision)
    return anomalies


def _check_events(watch: Watch, changes: _Changes) -> list[Anomaly]:
    """Each event is a change that was made, as it was made."""
    anomalies = []
    for event in watch.events:
        where = f"{_value(event.value)} for {event.key} at revision {event.revision}"
        change = (event.key, event.value)
        known = changes.by_revision.get(event.revision)
        if known is not None:
            value, writer = known.get(event.key, (None, next(iter(known.values()))[1]))
            if value != event.value:
                made = f"the {writer.f} of {writer.lines} made that revision" + (
                    "" if value is None else f" with {_value(value)}"
                )
                anomalies.append(_anomaly("wrong-event", f"{watch.name} told {where}, but {made}", watch, writer))
            elif watch.operation.precedes(writer):
                text = f"{watch.name} told {where} and ended before the {writer.f} of {writer.lines} began"
                anomalies.append(_anomaly("event-before-change", text, watch, writer))
        elif change not in changes.open:
            failed = changes.failed.get(change)
            if failed:
                text = f"{watch.name} told {where}, whose {failed[0].f} ({failed[0].lines}) failed"
                anomalies.append(_anomaly("failed-change", text, watch, failed[0]))
            else:
                anomalies.append(_anomaly("phantom", f"{watch.name} told {where}, a change that nobody made", watch))
    return anomalies


def _sessions(watches: list[Watch]) -> list[list[Watch]]:
    """Watches by identity, each in the order of its resumptions."""
    by_identity: dict[str, list[Watch]] = defaultdict(list)
    for watch in watches:
        by_identity[watch.identity].append(watch)
    return list(by_identity.values())


def _check_complete(sessions: list[Watch], changes: _Changes) -> list[Anomaly]:
    """Every known change between the start and the end of what a watch told is among its events."""
    anomalies = []
    told = {(event.revision, event.key) for watch in sessions for event in watch.events}
    reached = 0
    reported: set[tuple[int, str]] = set()
    for watch in sessions:
        # A resumed watch owes what lies between the one before and its own start, too: the client did not skip it.
        start = watch.start or 0
        begin = min(start, reached + 1) if reached and start else start
        for place in range(bisect_left(changes.revisions, begin), len(changes.revisions)):
            revision = changes.revisions[place]
            if revision > watch.until:
                break
            if revision <= watch.compacted:
                continue
            for key, (value, writer) in changes.by_revision[revision].items():
                if not watch.wants(key) or (revision, key) in told or (revision, key) in reported:
                    continue
                # Without a start, only what was asked for after the watch was known to stand is owed. The history does
                # not tell when that was, but what came after its first event came after that.
                if not start and not (watch.events and revision > watch.events[0].revision):
                    continue
                reported.add((revision, key))
                change = f"{_value(value)} for {key} at revision {revision} ({writer.f} of {writer.lines})"
                text = f"{watch.name} told everything up to revision {watch.until} but {change}"
                anomalies.append(_anomaly("missed", text, watch, writer))
        # What is gone for good is owed by none of those that follow.
        reached = max(reached, watch.until, watch.compacted)
    return anomalies


def _check_resumed(sessions: list[Watch]) -> list[Anomaly]:
    """What a watch told before it broke is not told again when it is resumed behind that."""
    anomalies = []
    told: dict[tuple[int, str], Watch] = {}
    for watch in sessions:
        for event in watch.events:
            before = told.get((event.revision, event.key))
            if before is not None and (watch.start or 0) > event.revision:
                where = f"{event.key} at revision {event.revision}"
                text = f"{watch.name}, resumed from {watch.start}, told {where} again"
                anomalies.append(_anomaly("duplicated", text, watch, before.operation))
        for event in watch.events:
            told.setdefault((event.revision, event.key), watch)
    return anomalies


def _check_agreement(watches: list[Watch]) -> list[Anomaly]:
    """All watches tell the same value for a key at a revision."""
    anomalies = []
    first: dict[tuple[int, str], tuple[str, Watch]] = {}
    for watch in watches:
        for event in watch.events:
            value, other = first.setdefault((event.revision, event.key), (event.value, watch))
            if value != event.value:
                text = (
                    f"for {event.key} at revision {event.revision} {watch.name} told {_value(event.value)} and "
                    f"{other.name} {_value(value)}"
                )
                anomalies.append(_anomaly("disagreement", text, watch, other.operation))
    return anomalies


def _check_once(watches: list[Watch], changes: _Changes) -> list[Anomaly]:
    """What was asked for once is told at one revision only: a command that is sent again must not be done again."""
    anomalies = []
    told: dict[Change, dict[int, Watch]] = defaultdict(dict)
    for watch in watches:
        for event in watch.events:
            if event.value != _ABSENT:
                told[event.key, event.value].setdefault(event.revision, watch)
    for change, revisions in told.items():
        asked = changes.open.get(change, [])
        # A change whose revision is known is `wrong-event` or `phantom` anywhere else.
        if asked and len(revisions) > len(asked) and not revisions.keys() & changes.by_revision.keys():
            key, value = change
            where = " and ".join(map(str, sorted(revisions)))
            watch = revisions[max(revisions)]
            text = f"{watch.name} told {value} for {key} at revisions {where}, asked for by {asked[0].lines} only"
            anomalies.append(_anomaly("applied-twice", text, watch, asked[0]))
    return anomalies


def _value(value: str) -> str:
    return "a deletion" if value == _ABSENT else value


def _anomaly(name: str, text: str, watch: Watch, *others: Operation) -> Anomaly:
    unique = {operation.number: operation for operation in (watch.operation, *others)}
    operations = sorted(unique.values(), key=lambda operation: operation.invoked)
    labels = {
        each.number: f"watch from {watch.start or 'now'}"
        if each is watch.operation
        else f"{each.f} {_key_text(each.key)}"
        for each in operations
    }
    return Anomaly(name, text, tuple(operations), frozenset({watch.operation.number}), labels=labels)


def _key_text(key: Key) -> str:
    return "" if key is None else str(key)
