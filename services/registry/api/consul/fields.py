"""JSON bodies read as Go's encoding/json reads them into a struct, with limits.

A field's name matches whatever its case, the last of several wins, `null` is as if it were not there, what is unknown
is ignored, and a value of the wrong type is refused by the names of both. Keys of maps keep their case.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import msgspec

from services.registry.api.consul.durations import NANOSECONDS_MAX, parse_duration
from services.registry.api.consul.refusals import Refused

BODY_BYTES_MAX = 512 * 1024
"""Consul's own limit for most of what it takes."""
DEPTH_MAX = 32
"""Nothing that the API knows is nested deeper than six."""
ITEMS_MAX = 4096
"""Of one list or object."""

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class Fields:
    """One JSON object, to be read field by field. All readers raise Refused (400)."""

    def __init__(self, value: Mapping[str, Json], struct: str) -> None:
        """`struct` is its name in messages."""
        self._struct = struct
        self._values = {name.casefold(): item for name, item in value.items() if item is not None}

    def text(self, *names: str) -> str:
        """The first of these fields that is there and not empty; empty without."""
        for name in names:
            value = self._values.get(name.casefold(), "")
            if not isinstance(value, str):
                raise self._mismatch(value, name, "string")
            if value:
                return value
        return ""

    def integer(self, name: str) -> int:
        """0 when it is not there."""
        value = self._values.get(name.casefold(), 0)
        if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
            raise self._mismatch(value, name, "int")
        return value

    def flag(self, *names: str) -> bool:
        """Whether any of these is true."""
        found = False
        for name in names:
            value = self._values.get(name.casefold(), False)
            if not isinstance(value, bool):
                raise self._mismatch(value, name, "bool")
            found = found or value
        return found

    def duration_ns(self, *names: str) -> int:
        """The first of these that is there: Go's syntax, or a number of nanoseconds; 0 without. May be negative."""
        for name in names:
            value = self._values.get(name.casefold())
            if value is None:
                continue
            if isinstance(value, str):
                try:
                    return parse_duration(value)
                except ValueError as error:
                    raise Refused(400, f"Request decode failed: {error}") from None
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= NANOSECONDS_MAX:
                raise self._mismatch(value, name, "time.Duration")
            return int(value)
        return 0

    def texts(self, *names: str) -> tuple[str, ...]:
        """A list of strings."""
        for name in names:
            values = self._list(name)
            for value in values:
                if not isinstance(value, str):
                    raise self._mismatch(value, name, "string")
            if values:
                return tuple(cast("Sequence[str]", values))
        return ()

    def text_map(self, name: str) -> dict[str, str]:
        """An object whose values are strings."""
        values = self._object(name)
        for value in values.values():
            if value is not None and not isinstance(value, str):
                raise self._mismatch(value, name, "string")
        return {key: value if isinstance(value, str) else "" for key, value in values.items()}

    def texts_map(self, name: str) -> dict[str, tuple[str, ...]]:
        """An object whose values are lists of strings."""
        found: dict[str, tuple[str, ...]] = {}
        for key, values in self._object(name).items():
            if values is None:
                continue
            if not isinstance(values, list):
                raise self._mismatch(values, name, "[]string")
            for value in values:
                if not isinstance(value, str):
                    raise self._mismatch(value, name, "string")
            found[key] = tuple(cast("list[str]", values))
        return found

    def child(self, name: str) -> "Fields | None":
        """A nested object."""
        if name.casefold() not in self._values:
            return None
        return Fields(self._object(name), f"{self._struct}.{name}")

    def children(self, name: str) -> "list[Fields]":
        """A list of nested objects."""
        found: list[Fields] = []
        for value in self._list(name):
            if not isinstance(value, dict):
                raise self._mismatch(value, name, "object")
            found.append(Fields(value, f"{self._struct}.{name}"))
        return found

    @property
    def is_zero(self) -> bool:
        """Whether nothing in it says anything."""
        return not any(self._values.values())

    def has(self, name: str) -> bool:
        """Whether it says anything under that name."""
        return bool(self._values.get(name.casefold()))

    def _list(self, name: str) -> "list[Json]":
        value = self._values.get(name.casefold())
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._mismatch(value, name, "array")
        return value

    def _object(self, name: str) -> "dict[str, Json]":
        value = self._values.get(name.casefold())
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._mismatch(value, name, "object")
        return value

    def _mismatch(self, value: Json, name: str, wanted: str) -> Refused:
        return Refused(
            400,
            f"Request decode failed: json: cannot unmarshal {_kind(value)} into Go struct field "
            f"{self._struct}.{name} of type {wanted}",
        )


def decode(body: bytes, struct: str) -> Fields:
    """The object in a body. Raises Refused (400, or 413 when it is too large)."""
    if len(body) > BODY_BYTES_MAX:
        raise Refused(413, f"Request body({len(body)} bytes) too large, max size: {BODY_BYTES_MAX} bytes.")
    if not body.strip():
        raise Refused(400, "Request decode failed: EOF")
    try:
        value = cast("Json", msgspec.json.decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # msgspec itself stops at the interpreter's limit of recursion.
        raise Refused(400, f"Request decode failed: {error}") from None
    _limit(value)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        message = f"json: cannot unmarshal {_kind(value)} into Go value of type {struct}"
        raise Refused(400, f"Request decode failed: {message}")
    return Fields(value, struct)


def _limit(value: Json) -> None:
    """Raises Refused when a list or an object is too long, or too deep."""
    level: list[Json] = [value]
    for _ in range(DEPTH_MAX):
        deeper: list[Json] = []
        for item in level:
            if isinstance(item, list | dict):
                if len(item) > ITEMS_MAX:
                    raise Refused(400, f"Request decode failed: more than {ITEMS_MAX} items in one list or object")
                deeper.extend(item if isinstance(item, list) else item.values())
        if not deeper:
            return
        level = deeper
    raise Refused(400, f"Request decode failed: nested deeper than {DEPTH_MAX}")


def _kind(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() | float():
            return f"number {value}" if isinstance(value, float) else "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
