"""A key-value store in etcd's manner as the linearizability judge sees it: values, versions and revisions.

Keys that stand in one transaction are judged together, all others alone. Within a problem revisions must rise with the
order; across problems `revisions.py` checks that they are unique and rise with real time.

A revision that no answer told is a number with only a lower bound; it becomes exact when a get tells it. What nothing
in a problem observes (versions, revisions) is left out of the state, so that states that nobody can tell apart are one.
Versions are not looked at where many changes got no answer, unless a guard needs them: which of those count is a guess
with as many outcomes as there are subsets, and revisions tell nearly the same.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

from orrery.checkers.history import History, Operation, canonical
from orrery.checkers.kv_calls import Comparison, KvCall, Seen, Step, keys_of, parse_call
from orrery.checkers.machine import ANYTHING, Call, Item, Machine, Problem, State, Token
from orrery.checkers.registers import UNSEEN

ABSENT = "null"
Cell: TypeAlias = tuple[str, int, int, int]
"""Value, version, create_revision, mod_revision. A negative revision -n is one that nobody told, at least n."""
Store: TypeAlias = tuple[int, tuple[Cell, ...]]
"""The highest revision known to be reached, and the cells by the keys' places."""
LOST_WITH_VERSIONS_MAX = 10
"""Changes without an answer in one problem, up to which versions are looked at."""
_EMPTY: Cell = (ABSENT, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class KvMachine:
    """The keys of one problem. Calls are (KvCall,)."""

    keys: tuple[str, ...]
    versions: bool
    """Whether some answer or guard looks at versions."""
    revisions: bool
    """Whether some answer or guard looks at revisions."""

    def initial(self) -> State:
        """Nothing there, revision 0."""
        return (0, (_EMPTY,) * len(self.keys))

    def step(self, state: State, call: Call) -> Sequence[State]:
        """etcd's semantics; two states when it is open which branch a transaction without an answer took."""
        kv_call = _kv(call)
        store = cast("Store", state)
        outcomes: list[State] = []
        for branch, steps in ((True, kv_call.then), (False, kv_call.otherwise)):
            if kv_call.succeeded is not None and kv_call.succeeded != branch:
                continue
            guarded = self._guard(store, kv_call.compare, succeeded=branch)
            after = None if guarded is None else self._apply(guarded, steps, kv_call.revision)
            if after is not None and after not in outcomes:
                outcomes.append(after)
        return outcomes

    def _guard(self, store: Store, guards: tuple[Comparison, ...], *, succeeded: bool) -> Store | None:
        """The store when the guards can have this result; a revision that was open may become exact."""
        results: set[bool | None] = set()
        cells = list(store[1])
        for guard in guards:
            results.add(_compare(cells[guard.key], guard))
            if succeeded and guard.sign == "=" and guard.target in ("create_revision", "mod_revision"):
                place = 2 if guard.target == "create_revision" else 3
                cells[guard.key] = _with(cells[guard.key], place, int(guard.operand))
        if succeeded:
            return None if False in results else (store[0], tuple(cells))
        return None if results <= {True} else store

    def _apply(self, store: Store, steps: tuple[Step, ...], revision: int | None) -> Store | None:
        floor, before = store
        cells = list(before)
        given = 0
        if self.revisions:
            given = -floor - 1 if revision is None else revision
        changed = False
        for step in steps:
            cell = cells[step.key]
            if step.kind == "get":
                seen = cell if step.seen is None else _refined(cell, step.seen, versions=self.versions)
                if seen is None:
                    return None
                cells[step.key] = seen
                if self.revisions and not changed:
                    floor = max(floor, seen[2], seen[3])
            elif step.kind == "put":
                changed = True
                version = cell[1] + 1 if self.versions else 0
                cells[step.key] = (step.value, version, given if cell[0] == ABSENT else cell[2], given)
            else:
                there = int(cell[0] != ABSENT)
                if step.deleted is not None and step.deleted != there:
                    return None
                changed = changed or bool(there)
                cells[step.key] = _EMPTY
        if not self.revisions:
            return (0, tuple(cells))
        if revision is None:
            return (floor + int(changed), tuple(cells))
        if revision < floor + int(changed):
            return None
        return (revision, tuple(cells))

    def observes(self, call: Call) -> Iterable[Token]:
        """Keys with values; ANYTHING as soon as versions, revisions or what is not there are looked at."""
        kv_call = _kv(call)
        observed: list[Token] = []
        if self.versions or self.revisions or (kv_call.compare and (kv_call.succeeded is False or kv_call.otherwise)):
            observed.append(ANYTHING)
        for guard in kv_call.compare:
            if guard.sign != "=":
                observed.append(ANYTHING)
            observed.append((guard.key, str(guard.operand)))
        for step in kv_call.then + kv_call.otherwise:
            if step.kind == "delete" and step.deleted is not None:
                observed.append(ANYTHING)
            if step.kind == "get" and step.seen is not None and step.seen.value is not None:
                observed.append((step.key, step.seen.value))
        return observed

    def requires(self, call: Call) -> Iterable[Token]:
        """What gets told, and what guards that held compared with."""
        kv_call = _kv(call)
        guards = kv_call.compare if kv_call.succeeded else ()
        required = [(guard.key, str(guard.operand)) for guard in guards if (guard.target, guard.sign) == ("value", "=")]
        steps = kv_call.otherwise if kv_call.succeeded is False else kv_call.then
        seen = [(step.key, step.seen.value) for step in steps if step.kind == "get" and step.seen is not None]
        required += [(key, value) for key, value in seen if value is not None]
        return [token for token in required if token[1] != ABSENT]

    def may_write(self, call: Call) -> Iterable[Token]:
        """All of the branches that it may have taken."""
        return [(step.key, step.value) for branch in _branches(_kv(call)) for step in branch if step.kind != "get"]

    def taken(self, call: Call, written: Token) -> Call | None:
        """The call with the branch that wrote it; None when both may have."""
        kv_call = _kv(call)
        wrote = [
            any((step.key, step.value) == written for step in branch) for branch in (kv_call.then, kv_call.otherwise)
        ]
        return None if all(wrote) else (replace(kv_call, succeeded=wrote[0]),)

    def unseen(self, call: Call, named: AbstractSet[Token]) -> Call:
        """The call, with values that nobody looks for replaced."""

        def anonymous(step: Step) -> Step:
            known = step.kind != "put" or (step.key, step.value) in named
            return step if known else replace(step, value=UNSEEN)

        kv_call = _kv(call)
        then, otherwise = tuple(map(anonymous, kv_call.then)), tuple(map(anonymous, kv_call.otherwise))
        return (replace(kv_call, then=then, otherwise=otherwise),)

    def writes(self, call: Call) -> Token | None:
        """The key and value of a call with one write."""
        kv_call = _kv(call)
        written = [step for branch in _branches(kv_call) for step in branch if step.kind != "get"]
        if not written:
            return None
        if len(written) > 1 or self.versions or self.revisions:
            return ANYTHING
        return (written[0].key, written[0].value)

    def relaxations(self, items: Sequence[Item]) -> Sequence[tuple[tuple[Item, ...], Machine]]:
        """First the values alone, then with revisions but without versions."""
        calls = [_kv(item.call) for item in items]
        targets = {guard.target for call in calls for guard in call.compare}
        relaxed: list[tuple[tuple[Item, ...], Machine]] = []
        for revisions in (False, True):
            machine = KvMachine(self.keys, versions=False, revisions=revisions)
            wanted = {"value"} | ({"create_revision", "mod_revision"} if revisions else set())
            if machine == self or not targets <= wanted or (revisions and not self.revisions):
                continue
            kept = (Item(item.operation, (_without(_kv(item.call), revisions),), item.pending) for item in items)
            relaxed.append((tuple(kept), machine))
        return relaxed

    def describe(self, call: Call) -> str:
        """In words."""
        kv_call = _kv(call)
        at = "" if kv_call.revision is None else f" at revision {kv_call.revision}"
        if not kv_call.compare:
            return ", ".join(self._describe_step(step) for step in kv_call.then) + at
        guards = " and ".join(f"{self._short(g.key)}{g.target} {g.sign} {g.operand}" for g in kv_call.compare)
        taken = kv_call.otherwise if kv_call.succeeded is False else kv_call.then
        result = {True: "yes", False: "no", None: "?"}[kv_call.succeeded]
        return f"if {guards} ({result}): " + (", ".join(map(self._describe_step, taken)) or "nothing") + at

    def _short(self, key: int) -> str:
        return f"{self.keys[key]} " if len(self.keys) > 1 else ""

    def _describe_step(self, step: Step) -> str:
        key = self._short(step.key)
        if step.kind == "put":
            return f"put {key}{step.value}"
        if step.kind == "delete":
            return f"delete {key}".rstrip() + ("" if step.deleted is None else f" ({step.deleted} deleted)")
        if step.seen is None:
            return f"get {key}".rstrip()
        seen = step.seen
        named = (("version", seen.version), ("create", seen.create), ("mod", seen.mod))
        rest = "".join(f" {name} {number}" for name, number in named if number is not None)
        return f"get {key}{'?' if seen.value is None else 'absent' if seen.value == ABSENT else seen.value}{rest}"

    def describe_state(self, state: State) -> str:
        """The cells, and the revision where it matters."""
        store = cast("Store", state)
        parts = []
        for place, (value, version, create, mod) in enumerate(store[1]):
            text = self._short(place) + ("absent" if value == ABSENT else value)
            if self.versions and version:
                text += f" version {version}"
            if self.revisions and mod:
                text += f" mod {_revision_text(mod)} create {_revision_text(create)}"
            parts.append(text)
        return ", ".join(parts) + (f" (revision {store[0]})" if self.revisions else "")


def _kv(call: Call) -> KvCall:
    return cast("KvCall", call[0])


def _branches(call: KvCall) -> tuple[tuple[Step, ...], ...]:
    """Those that it may have taken."""
    return {True: (call.then,), False: (call.otherwise,), None: (call.then, call.otherwise)}[call.succeeded]


def _without(call: KvCall, revisions: bool) -> KvCall:
    """The call as if its answer had told no versions, and no revisions either unless they are wanted."""

    def less(step: Step) -> Step:
        if step.seen is None:
            return step
        seen = Seen(step.seen.value, None, step.seen.create, step.seen.mod) if revisions else Seen(step.seen.value)
        return replace(step, seen=seen)

    then, otherwise = tuple(map(less, call.then)), tuple(map(less, call.otherwise))
    return replace(call, then=then, otherwise=otherwise, revision=call.revision if revisions else None)


def _with(cell: Cell, place: int, number: int) -> Cell:
    """The cell with an open revision (place 2 or 3) made exact."""
    value, version, create, mod = cell
    if place == 2:
        return (value, version, number if create < 0 else create, mod)
    return (value, version, create, number if mod < 0 else mod)


def _refined(cell: Cell, seen: Seen, *, versions: bool) -> Cell | None:
    """The cell with what a get told; None when it contradicts."""
    value, version, create, mod = cell
    if seen.value is not None and seen.value != value:
        return None
    if versions and seen.version is not None and seen.version != version:
        return None
    for place, told, held in ((2, seen.create, create), (3, seen.mod, mod)):
        if told is None:
            continue
        if told != held if held >= 0 else told < -held:
            return None
        cell = _with(cell, place, told)
    return cell


def _compare(cell: Cell, guard: Comparison) -> bool | None:
    """The guard's result; None when it depends on a revision that nobody told."""
    value, version, create, mod = cell
    held = {"value": 0, "version": version, "create_revision": create, "mod_revision": mod}[guard.target]
    if guard.target == "value":
        if guard.sign == "=" or guard.operand == ABSENT:
            return (value == guard.operand) == (guard.sign == "=")
        # As in etcd: with a key that is not there, a comparison of values is false, "differs" included.
        return value not in (ABSENT, guard.operand)
    operand = int(guard.operand)
    if held < 0:
        below = operand < -held
        return {"=": False, "!=": True, "<": False, ">": True}[guard.sign] if below else None
    return {"=": held == operand, "!=": held != operand, "<": held < operand, ">": held > operand}[guard.sign]


def _revision_text(revision: int) -> str:
    return str(revision) if revision >= 0 else f">={-revision}"


def kv_problems(history: History) -> list[Problem]:
    """A problem for each set of keys that transactions connect. Raises ModelMismatch."""
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while parents[key] != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    first_key: dict[int, str] = {}
    for operation in history.operations:
        if operation.f == "watch":
            # For the judge of watches, who reads the same history.
            continue
        keys = [canonical(key) for key in keys_of(operation)]
        for key in keys:
            parents.setdefault(key, key)
            parents[root(key)] = root(keys[0])
        if keys:
            first_key[operation.number] = keys[0]
    members: dict[str, list[str]] = defaultdict(list)
    for key in parents:
        members[root(key)].append(key)
    grouped: dict[str, list[Operation]] = defaultdict(list)
    for operation in history.operations:
        if operation.number in first_key:
            grouped[root(first_key[operation.number])].append(operation)
    return [_problem(members[group], operations) for group, operations in grouped.items()]


def _problem(keys: list[str], operations: list[Operation]) -> Problem:
    places = {key: place for place, key in enumerate(keys)}
    parsed = [(operation, parse_call(operation, places)) for operation in operations]
    calls = [call for _, call in parsed if call is not None]
    guards = any(guard.target == "version" for call in calls for guard in call.compare)
    lost = sum(operation.outcome == "info" for operation, call in parsed if call is not None)
    versions = guards or (lost <= LOST_WITH_VERSIONS_MAX and _tell_versions(calls))
    machine = KvMachine(tuple(keys), versions, _look_at_revisions(calls))
    items = [Item(operation, (call,), operation.outcome == "info") for operation, call in parsed if call is not None]
    name = f"key {keys[0]}" if len(keys) == 1 else f"keys {', '.join(keys)}"
    return Problem(name, tuple(items), machine)


def _tell_versions(calls: list[KvCall]) -> bool:
    return any(step.seen and step.seen.version is not None for call in calls for step in call.then + call.otherwise)


def _look_at_revisions(calls: list[KvCall]) -> bool:
    if any(call.revision is not None for call in calls):
        return True
    if any(guard.target in ("create_revision", "mod_revision") for call in calls for guard in call.compare):
        return True
    steps = [step for call in calls for step in call.then + call.otherwise]
    return any(step.seen and (step.seen.create is not None or step.seen.mod is not None) for step in steps)
