"""Messages as JSON, as the proto3 JSON mapping has it, under the names that the .proto file gives the fields.

grpc-gateway writes camelCase names unless told otherwise; etcd tells it otherwise, and its clients rely on that. What
has its default value is left out.

`google.protobuf.json_format` does the same in three times the time (`bench/transcoding.py`): it looks at each field's
descriptor anew for each message. Here the conversion of a message type is put together once. Types with a JSON form of
their own (timestamps, structs and so on) are still left to it.
"""

from binascii import b2a_base64
from collections.abc import Callable
from struct import Struct
from typing import TypeAlias, cast

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

Convert: TypeAlias = Callable[..., object]
"""Turns one value of a field into what the JSON writer takes."""

SPECIAL_TYPES = frozenset(
    f"google.protobuf.{name}"
    for name in (
        "Any", "BoolValue", "BytesValue", "DoubleValue", "Duration", "FieldMask", "FloatValue", "Int32Value",
        "Int64Value", "ListValue", "StringValue", "Struct", "Timestamp", "UInt32Value", "UInt64Value", "Value",
    )
)  # fmt: skip
"""Messages whose JSON is not an object of their fields."""

LONG_TYPES = frozenset(
    (
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    )
)
"""Integers that JSON readers with floating point numbers only would spoil: written as strings."""

_SINGLE = Struct("<f")
_encode_json = msgspec.json.Encoder().encode


def descriptor_of(message: Message) -> Descriptor:
    """The message's type. The typed stubs leave open which implementation of protobuf it is from."""
    return cast(Descriptor, message.DESCRIPTOR)


class JsonEncoder:
    """Writes messages of any type; remembers how for each type that it has met."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[int, tuple[str, Convert | None]]] = {}

    def encode(self, message: Message) -> bytes:
        """The message as one line of JSON."""
        return _encode_json(self.document(message))

    def document(self, message: Message) -> object:
        """The message as dicts, lists and scalars."""
        descriptor = descriptor_of(message)
        if descriptor.full_name in SPECIAL_TYPES:
            return _special(message)
        return self._object(message, self._table(descriptor))

    def field_document(self, message: Message, name: str) -> object:
        """The value of one field, for `response_body`; its type's empty value when it is not set."""
        field = descriptor_of(message).fields_by_name[name]
        convert = self._convert(field)
        value: object = getattr(message, name)
        return value if convert is None else convert(value)

    def _object(self, message: Message, table: dict[int, tuple[str, Convert | None]]) -> dict[str, object]:
        document: dict[str, object] = {}
        for field, value in message.ListFields():
            name, convert = table[field.number]
            document[name] = value if convert is None else convert(value)
        return document

    def _table(self, descriptor: Descriptor) -> dict[int, tuple[str, Convert | None]]:
        table = self._tables.get(descriptor.full_name)
        if table is None:
            # Entered before it is filled: a message may contain its own type.
            table = self._tables[descriptor.full_name] = {}
            for field in descriptor.fields:
                table[field.number] = (field.name, self._convert(field))
        return table

    def _convert(self, field: FieldDescriptor) -> Convert | None:
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            key = _map_key(entry.fields_by_name["key"])
            value = self._single(entry.fields_by_name["value"]) or _as_it_is
            return lambda pairs: {key(name): value(pairs[name]) for name in sorted(pairs)}
        single = self._single(field)
        if field.is_repeated:
            return list if single is None else lambda values: [single(value) for value in values]
        return single

    def _single(self, field: FieldDescriptor) -> Convert | None:
        kind = field.type
        if kind in LONG_TYPES:
            return str
        if kind == FieldDescriptor.TYPE_BYTES:
            return _base64
        if kind == FieldDescriptor.TYPE_ENUM:
            return _enum(field)
        if kind in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
            return _shortest if kind == FieldDescriptor.TYPE_FLOAT else _double
        if field.message_type is None:
            return None
        if field.message_type.full_name in SPECIAL_TYPES:
            return _special
        table = self._table(field.message_type)
        encode = self._object
        return lambda message: encode(message, table)


def _as_it_is(value: object) -> object:
    return value


def _base64(value: bytes) -> str:
    return b2a_base64(value, newline=False).decode("ascii")


def _double(value: float) -> object:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _shortest(value: float) -> object:
    """A 32-bit float in the fewest digits that tell it from its neighbours, instead of those of its 64-bit image."""
    for digits in (6, 7, 8, 9):
        short = float(f"{value:.{digits}g}")
        if _as_single(short) == value:
            return _double(short)
    return _double(value)


def _as_single(value: float) -> float:
    try:
        return cast(float, _SINGLE.unpack(_SINGLE.pack(value))[0])
    except OverflowError:
        return value


def _enum(field: FieldDescriptor) -> Convert:
    assert field.enum_type is not None
    if field.enum_type.full_name == "google.protobuf.NullValue":
        return lambda number: None
    names: dict[int, str] = {}
    for value in field.enum_type.values:
        names.setdefault(value.number, value.name)
    # A number without a name comes from a newer peer; it is written as a number.
    return lambda number: names.get(number, number)


def _map_key(field: FieldDescriptor) -> Callable[[object], str]:
    if field.type == FieldDescriptor.TYPE_BOOL:
        return lambda key: "true" if key else "false"
    return str


def _special(message: Message) -> object:
    # Loaded when a service uses such a type: most do not, and it costs some milliseconds at start.
    from google.protobuf import json_format

    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def encode_document(document: object) -> bytes:
    """One line of JSON."""
    return _encode_json(document)
