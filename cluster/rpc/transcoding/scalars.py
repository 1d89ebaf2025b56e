"""Single values from JSON or from text: numbers, strings, bytes, enums (proto3 JSON mapping).

Each conversion takes what the JSON parser yields, or, for path variables and query parameters, a string, and raises
ValueError that says what was expected. Ranges of integers are left to protobuf, which
checks them when the field is set.
"""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from typing import TypeAlias

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

Parse: TypeAlias = Callable[[object], object]

DIGITS_MAX = 400
"""Digits of a number: enough for any double written out, and too few to make converting them slow."""
FLOAT_MAX = 3.4028235677973366e38
"""Beyond it, a number rounds to infinity as a 32-bit float."""

SHOWN_MAX = 64
"""Characters of a wrong value that its sender is shown."""

_INTEGER = re.compile(r"-?[0-9]+").fullmatch
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?").fullmatch
_URL_SAFE = str.maketrans("-_", "+/")
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_TRUTHS = {"true": True, "false": False}

_INTEGER_TYPES = frozenset(
    (
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_SINT32,
        FieldDescriptor.TYPE_FIXED32,
        FieldDescriptor.TYPE_SFIXED32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    )
)


def parse_of(field: FieldDescriptor, *, from_text: bool = False) -> Parse:
    """The conversion for one value of a field that holds no messages.

    `from_text` is for values that can only be strings: booleans and enum numbers are then read from them, too.
    """
    kind = field.type
    if kind in _INTEGER_TYPES:
        return _integer
    if kind == FieldDescriptor.TYPE_STRING:
        return _string
    if kind == FieldDescriptor.TYPE_BYTES:
        return _bytes
    if kind == FieldDescriptor.TYPE_BOOL:
        return _bool_of_text if from_text else _bool
    if kind == FieldDescriptor.TYPE_ENUM:
        assert field.enum_type is not None
        return _enum(field.enum_type, from_text=from_text)
    return _float if kind == FieldDescriptor.TYPE_FLOAT else _double


def map_key_of(field: FieldDescriptor) -> Parse:
    """The conversion for the keys of a map, which JSON has as strings."""
    return parse_of(field, from_text=True)


def _integer(value: object) -> object:
    if type(value) is int:
        return value
    if type(value) is str and len(value) <= DIGITS_MAX:
        if _INTEGER(value):
            return int(value)
        if _NUMBER(value):
            value = float(value)
    if type(value) is float and value.is_integer():
        return int(value)
    raise ValueError(f"an integer is expected, not {show(value)}")


def _double(value: object) -> float:
    if type(value) is float or type(value) is int:
        number = float(value)
    elif type(value) is str and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    elif type(value) is str and len(value) <= DIGITS_MAX and _NUMBER(value):
        number = float(value)
    else:
        raise ValueError(f"a number is expected, not {show(value)}")
    if number in (float("inf"), float("-inf")):
        raise ValueError("the number is too large")
    return number


def _float(value: object) -> object:
    number = _double(value)
    if FLOAT_MAX <= abs(number) < float("inf"):
        raise ValueError("the number is too large")
    return number


def _bool(value: object) -> object:
    if type(value) is bool:
        return value
    raise ValueError(f"true or false is expected, not {show(value)}")


def _bool_of_text(value: object) -> object:
    truth = _TRUTHS.get(value) if isinstance(value, str) else None
    if truth is None:
        raise ValueError(f"true or false is expected, not {show(value)}")
    return truth


def _string(value: object) -> object:
    if type(value) is str:
        return value
    raise ValueError(f"a string is expected, not {show(value)}")


def _bytes(value: object) -> object:
    """Standard or URL-safe base64, with or without its padding: the mapping takes all of them."""
    if type(value) is not str:
        raise ValueError(f"a string of base64 is expected, not {show(value)}")
    try:
        try:
            return a2b_base64(value, strict_mode=True)
        except Base64Error:
            plain = value.rstrip("=").translate(_URL_SAFE)
            return a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)
    except ValueError:
        raise ValueError(f"not base64: {show(value)}") from None


def _enum(descriptor: EnumDescriptor, *, from_text: bool) -> Parse:
    numbers = {name: value.number for name, value in descriptor.values_by_name.items()}
    if descriptor.full_name == "google.protobuf.NullValue":
        return _null

    def parse(value: object) -> object:
        if type(value) is str:
            number = numbers.get(value)
            if number is not None:
                return number
            if from_text and len(value) <= DIGITS_MAX and _INTEGER(value):
                return int(value)
        elif type(value) is int:
            return value
        elif type(value) is float and value.is_integer():
            return int(value)
        raise ValueError(f"unknown value {show(value)} for enum {descriptor.full_name}")

    return parse


def _null(value: object) -> object:
    """NullValue is written as null whatever its number, so another number than its only one would not come back."""
    if value is None or value == "NULL_VALUE" or (type(value) in (int, float) and value == 0):
        return 0
    raise ValueError(f"null is expected, not {show(value)}")


def show(value: object) -> str:
    """A value in a message to whoever sent it, cut short."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        shown = f'"{value[:65]}"'
    elif value is None or isinstance(value, bool):
        shown = {None: "null", True: "true", False: "false"}[value]
    else:
        shown = repr(value)
    return shown if len(shown) <= SHOWN_MAX else shown[:SHOWN_MAX] + "…"
