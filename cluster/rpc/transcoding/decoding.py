"""JSON into messages (proto3 JSON mapping), with limits.

Both names of a field are taken, the one of the .proto file and its camelCase form; unknown fields are ignored, and
`null` leaves a field as it is: grpc-gateway does the same. `google.protobuf.json_format` cannot do it so: told to
ignore unknown fields, it ignores unknown enum names, too, and it always skips what is not base64 in bytes.
"""

import json
from collections.abc import Callable
from typing import NoReturn, TypeAlias, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from cluster.rpc.transcoding.encoding import SPECIAL_TYPES, descriptor_of
from cluster.rpc.transcoding.scalars import map_key_of, parse_of, show

DEPTH_MAX = 64
"""Messages within messages. protobuf itself refuses to read more than a hundred."""

_WHITESPACE = " \t\n\r"

Set: TypeAlias = Callable[[Message, object, int], None]
"""Puts a value into a message that is so many levels deep."""


class DecodeError(ValueError):
    """The request is not what the method takes. The message is for whoever sent it."""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_scan = json.JSONDecoder(parse_constant=_no_constant).raw_decode


def parse_json(text: str, start: int = 0) -> tuple[object, int]:
    """The first JSON value from `start` on, and where it ends. Raises DecodeError."""
    while start < len(text) and text[start] in _WHITESPACE:
        start += 1
    try:
        return _scan(text, start)
    except json.JSONDecodeError as error:
        if error.pos >= len(text):
            raise DecodeError("unexpected EOF") from None
        if error.msg == "Expecting value":
            raise DecodeError(f"invalid character '{text[error.pos]}' looking for beginning of value") from None
        raise DecodeError(f"invalid JSON at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise DecodeError("the JSON is nested too deeply") from None
    except ValueError as error:  # constants that are not JSON, and integers of thousands of digits
        raise DecodeError(f"invalid JSON: {error}") from None


def skip_whitespace(text: str, start: int) -> int:
    """Where the next value begins; the text's length when there is none."""
    while start < len(text) and text[start] in _WHITESPACE:
        start += 1
    return start


class JsonDecoder:
    """Reads messages of any type; remembers how for each type that it has met."""

    def __init__(self, depth_max: int = DEPTH_MAX) -> None:
        self._depth_max = depth_max
        self._tables: dict[str, dict[str, Set]] = {}

    def read(self, message: Message, document: object) -> None:
        """Sets the message's fields from a parsed JSON value; null sets none. Raises DecodeError."""
        try:
            if document is not None:
                self._set_message(message, document, 0)
        except (ValueError, TypeError, OverflowError) as error:
            raise DecodeError(str(error)) from error

    def read_field(self, message: Message, name: str, document: object) -> None:
        """Sets one field, for `body: "name"`. Raises DecodeError."""
        if document is None:
            return
        try:
            self._table(descriptor_of(message))[name](message, document, 0)
        except (ValueError, TypeError, OverflowError) as error:
            raise DecodeError(f"{name}: {error}") from error

    def _set_message(self, message: Message, value: object, depth: int) -> None:
        if depth > self._depth_max:
            raise ValueError(f"messages are nested more than {self._depth_max} levels deep")
        descriptor = descriptor_of(message)
        if descriptor.full_name in SPECIAL_TYPES:
            _set_special(message, value, self._depth_max - depth)
            return
        if type(value) is not dict:
            raise ValueError(f"an object is expected for {descriptor.full_name}, not {show(value)}")
        table = self._table(descriptor)
        for name, part in value.items():
            put = table.get(name)
            if put is not None:
                try:
                    put(message, part, depth)
                except (ValueError, TypeError, OverflowError) as error:
                    raise ValueError(_within(name, error)) from error

    def _table(self, descriptor: Descriptor) -> dict[str, Set]:
        table = self._tables.get(descriptor.full_name)
        if table is None:
            table = self._tables[descriptor.full_name] = {}
            for field in descriptor.fields:
                table[field.name] = table[field.json_name] = self._put(field)
        return table

    def _put(self, field: FieldDescriptor) -> Set:
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            put = self._put_map(field.name, entry)
        elif field.is_repeated:
            put = self._put_repeated(field)
        else:
            put = self._put_single(field)
        if _takes_null(field):
            return put

        def put_unless_null(message: Message, value: object, depth: int) -> None:
            if value is not None:
                put(message, value, depth)

        return put_unless_null

    def _put_single(self, field: FieldDescriptor) -> Set:
        name = field.name
        if field.message_type is None:
            parse = parse_of(field)

            def put(message: Message, value: object, depth: int) -> None:
                setattr(message, name, parse(value))

        else:

            def put(message: Message, value: object, depth: int) -> None:
                part = cast(Message, getattr(message, name))
                part.SetInParent()
                self._set_message(part, value, depth + 1)

        oneof = field.containing_oneof
        if oneof is None or len(oneof.fields) == 1:
            return put

        def put_alone(message: Message, value: object, depth: int) -> None:
            if value is None and not takes_null:
                return
            taken = message.WhichOneof(oneof.name)
            if taken is not None and taken != name:
                raise ValueError(f"only one of {taken} and {name} may be set")
            put(message, value, depth)

        takes_null = _takes_null(field)
        return put_alone

    def _put_repeated(self, field: FieldDescriptor) -> Set:
        name = field.name
        if field.message_type is None:
            parse = parse_of(field)

            def put(message: Message, value: object, depth: int) -> None:
                getattr(message, name).extend([parse(part) for part in _array(value)])

        else:

            def put(message: Message, value: object, depth: int) -> None:
                parts = getattr(message, name)
                for part in _array(value):
                    self._set_message(parts.add(), part, depth + 1)

        return put

    def _put_map(self, name: str, entry: Descriptor) -> Set:
        parse_key = map_key_of(entry.fields_by_name["key"])
        value_field = entry.fields_by_name["value"]
        if value_field.message_type is None:
            parse = parse_of(value_field)

            def put(message: Message, value: object, depth: int) -> None:
                pairs = getattr(message, name)
                for key, part in _object(value).items():
                    pairs[parse_key(key)] = parse(part)

        else:

            def put(message: Message, value: object, depth: int) -> None:
                pairs = getattr(message, name)
                for key, part in _object(value).items():
                    self._set_message(pairs[parse_key(key)], part, depth + 1)

        return put


def _takes_null(field: FieldDescriptor) -> bool:
    if field.is_repeated:
        return False
    return (field.message_type is not None and field.message_type.full_name == "google.protobuf.Value") or (
        field.enum_type is not None and field.enum_type.full_name == "google.protobuf.NullValue"
    )


def _array(value: object) -> list[object]:
    if type(value) is not list:
        raise ValueError(f"an array is expected, not {show(value)}")
    return value


def _object(value: object) -> dict[str, object]:
    if type(value) is not dict:
        raise ValueError(f"an object is expected, not {show(value)}")
    return value


def _within(name: str, error: Exception) -> str:
    """Names the field an error is about, from the outermost in: `kv.lease: an integer is expected, not "x"`."""
    text = str(error)
    cause = error.__cause__
    return f"{name}.{text}" if isinstance(cause, ValueError | TypeError | OverflowError) else f"{name}: {text}"


def _set_special(message: Message, value: object, depth_max: int) -> None:
    # As in encoding: most services need it never.
    from google.protobuf import json_format

    try:
        json_format.ParseDict(cast(dict[str, object], value), message, max_recursion_depth=depth_max)
    except json_format.ParseError as error:
        raise ValueError(str(error)) from None
