"""Operations of a key-value store in etcd's manner, read from a history.

| f | value of the invocation | value of the completion |
|---|---|---|
| `put` | the new value | `{"revision": r}` |
| `get` | null | null for an absent key, or `{"value", "version", "create_revision", "mod_revision", "revision"}` |
| `delete` | null | `{"deleted": 0 or 1, "revision": r}` |
| `cas` | `[old, new]`, old null for "absent" | `{"succeeded": bool, "revision": r}` |
| `txn` | `{"compare": [...], "then": [...], "else": [...]}` | `{"succeeded": bool, "revision": r, "results": [...]}` |

In a `txn` a comparison is `[key, target, sign, operand]` with the targets `value`, `version`, `create_revision` and
`mod_revision` and the signs `= != < >`; the operations are `["put", key, value]`, `["get", key]`, `["delete", key]`.
What a completion leaves out was not observed. A value is any JSON but null, which stands for an absent key. `revision`
is the store's revision in the answer's header.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from orrery.checkers.history import Json, Key, Operation, canonical
from orrery.checkers.machine import ModelMismatch

TXN_OPERATIONS_MAX = 128
"""etcd's own default for one transaction."""
_TARGETS = ("value", "version", "create_revision", "mod_revision")
_SIGNS = ("=", "!=", "<", ">")
_Kind: TypeAlias = Literal["put", "get", "delete"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a get told of a key; None where it told nothing."""

    value: str | None = None
    """Canonical JSON; `null` for an absent key."""
    version: int | None = None
    create: int | None = None
    mod: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on one key, by the key's place in its problem."""

    kind: _Kind
    key: int
    value: str = "null"
    """What a put writes."""
    seen: Seen | None = None
    """What a get answered."""
    deleted: int | None = None
    """What a delete answered."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One guard of a transaction."""

    key: int
    target: str
    sign: str
    operand: str | int


@dataclass(frozen=True, slots=True)
class KvCall:
    """A transaction; a single put, get or delete is one without guards. Hashable: equal calls are interchangeable."""

    compare: tuple[Comparison, ...]
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]
    succeeded: bool | None
    """Which branch the answer told; None when there was no answer."""
    revision: int | None
    """The store's revision that the answer told."""


def keys_of(operation: Operation) -> list[Key]:
    """The keys that the operation touches. Raises ModelMismatch."""
    if operation.f != "txn":
        return [operation.key]
    request = _object(operation, operation.input)
    keys = [_key(operation, guard, 4) for guard in _list(operation, request.get("compare"))]
    for branch in ("then", "else"):
        keys += [_key(operation, step, 1) for step in _list(operation, request.get(branch))]
    return keys


def parse_call(operation: Operation, places: dict[str, int]) -> KvCall | None:
    """The call, with keys replaced by their places; None when it tells nothing. Raises ModelMismatch."""
    if operation.outcome == "fail":
        return None
    answered = operation.outcome == "ok"
    if operation.f == "txn":
        return _txn(operation, places)
    place = places[canonical(operation.key)]
    output = operation.output if answered else None
    if operation.f == "get":
        return (
            KvCall((), (Step("get", place, seen=_seen(operation, output)),), (), True, _revision(operation))
            if answered
            else None
        )
    answer = _object(operation, output)
    if operation.f == "put":
        return KvCall((), (Step("put", place, _written(operation, operation.input)),), (), True, _revision(operation))
    if operation.f == "delete":
        deleted = _integer(operation, answer, "deleted")
        return KvCall((), (Step("delete", place, deleted=deleted),), (), True, _revision(operation))
    if operation.f != "cas":
        raise ModelMismatch(operation, "a key-value store knows put, get, delete, cas and txn")
    if not isinstance(operation.input, list) or len(operation.input) != 2:
        raise ModelMismatch(operation, "cas carries [old, new]")
    old, new = operation.input
    guard = Comparison(place, "value", "=", canonical(old))
    then = (Step("put", place, _written(operation, new)),)
    return KvCall((guard,), then, (), _succeeded(operation, answer) if answered else None, _revision(operation))


def _txn(operation: Operation, places: dict[str, int]) -> KvCall | None:
    answered = operation.outcome == "ok"
    request = _object(operation, operation.input)
    answer = _object(operation, operation.output) if answered else {}
    succeeded = _succeeded(operation, answer) if answered else None
    results = _list(operation, answer.get("results"))
    branches: list[tuple[Step, ...]] = []
    for name, chosen in (("then", succeeded is True), ("else", succeeded is False)):
        steps = _list(operation, request.get(name))
        if len(steps) > TXN_OPERATIONS_MAX:
            raise ModelMismatch(operation, f"more than {TXN_OPERATIONS_MAX} operations in a branch")
        told = results if chosen and results else [None] * len(steps)
        if len(told) != len(steps):
            raise ModelMismatch(operation, f"{len(told)} results for {len(steps)} operations")
        known = chosen and bool(results)
        branches.append(tuple(_step(operation, s, r, places, known=known) for s, r in zip(steps, told, strict=True)))
    guards = tuple(_comparison(operation, guard, places) for guard in _list(operation, request.get("compare")))
    call = KvCall(guards, branches[0], branches[1], succeeded, _revision(operation))
    return call if answered or any(step.kind != "get" for branch in branches for step in branch) else None


def _step(operation: Operation, step: Json, result: Json, places: dict[str, int], *, known: bool) -> Step:
    place = places[canonical(_key(operation, step, 1))]
    parts = cast("list[Json]", step)
    if parts[0] == "put" and len(parts) == 3:
        return Step("put", place, _written(operation, parts[2]))
    if parts[0] == "get" and len(parts) == 2:
        return Step("get", place, seen=_seen(operation, result) if known else None)
    if parts[0] == "delete" and len(parts) == 2:
        deleted = _integer(operation, _object(operation, result), "deleted") if known else None
        return Step("delete", place, deleted=deleted)
    raise ModelMismatch(operation, '["put", key, value], ["get", key] or ["delete", key] is wanted')


def _comparison(operation: Operation, guard: Json, places: dict[str, int]) -> Comparison:
    place = places[canonical(_key(operation, guard, 4))]
    _, target, sign, operand = cast("list[Json]", guard)
    if target not in _TARGETS or sign not in _SIGNS:
        raise ModelMismatch(operation, f"compare by {_TARGETS} with {_SIGNS}, not {target!r} {sign!r}")
    if target == "value":
        if sign not in ("=", "!="):
            raise ModelMismatch(operation, "values are compared with = and != only: their order as bytes is not known")
        return Comparison(place, "value", str(sign), canonical(operand))
    if type(operand) is not int:
        raise ModelMismatch(operation, f"{target} is compared with an integer")
    return Comparison(place, str(target), str(sign), operand)


def _seen(operation: Operation, output: Json) -> Seen:
    if output is None:
        return Seen("null")
    answer = _object(operation, output)
    value = canonical(answer["value"]) if "value" in answer else None
    numbers = (_integer(operation, answer, name) for name in ("version", "create_revision", "mod_revision"))
    return Seen(value, *numbers)


def _revision(operation: Operation) -> int | None:
    if operation.outcome != "ok" or not isinstance(operation.output, dict):
        return None
    return _integer(operation, operation.output, "revision")


def _succeeded(operation: Operation, answer: dict[str, Json]) -> bool:
    succeeded = answer.get("succeeded")
    if not isinstance(succeeded, bool):
        raise ModelMismatch(operation, "the answer must tell whether it succeeded")
    return succeeded


def _written(operation: Operation, value: Json) -> str:
    if value is None:
        raise ModelMismatch(operation, "null cannot be written: it stands for an absent key")
    return canonical(value)


def _integer(operation: Operation, answer: dict[str, Json], name: str) -> int | None:
    value = answer.get(name)
    if value is not None and type(value) is not int:
        raise ModelMismatch(operation, f"{name} must be an integer")
    return value


def _object(operation: Operation, value: Json) -> dict[str, Json]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ModelMismatch(operation, "an object is wanted")
    return value


def _list(operation: Operation, value: Json) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ModelMismatch(operation, "a list is wanted")
    return value


def _key(operation: Operation, step: Json, position: int) -> Key:
    """The key of a guard (`position` 4, its length) or of an operation (the second part)."""
    parts = _list(operation, step)
    if len(parts) < 2 or (position == 4 and len(parts) != 4):
        raise ModelMismatch(operation, "compare is [key, target, sign, operand], an operation [name, key, ...]")
    key = parts[0] if position == 4 else parts[1]
    if type(key) is not str and type(key) is not int:
        raise ModelMismatch(operation, "a key must be a string or an integer")
    return key
