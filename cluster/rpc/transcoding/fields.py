"""Fields named by paths, `shelf.name`, set from text: path variables and query parameters."""

from collections.abc import Sequence
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from cluster.rpc.transcoding.decoding import DecodeError
from cluster.rpc.transcoding.encoding import descriptor_of
from cluster.rpc.transcoding.scalars import parse_of

_WRAPPERS = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
)
_TEXTS = frozenset(("google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"))


def find_field(descriptor: Descriptor, path: Sequence[str]) -> FieldDescriptor | None:
    """The field at the end of a path of field names (either form), or None when text cannot set it.

    Messages can be set by text when they have a text form; everything on the way must be a single message.
    """
    for position, name in enumerate(path):
        field = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
        if field is None:
            return None
        if position == len(path) - 1:
            kind = field.message_type
            return field if kind is None or kind.full_name in _WRAPPERS or kind.full_name in _TEXTS else None
        if field.message_type is None or field.is_repeated:
            return None
        descriptor = field.message_type
    return None


def set_field(message: Message, path: Sequence[str], texts: Sequence[str]) -> bool:
    """Sets the field at `path`; one that is repeated takes all `texts`, any other the last.

    Returns False when there is no such field. Raises DecodeError that names it when a text does not fit.
    """
    field = find_field(descriptor_of(message), path)
    if field is None:
        return False
    try:
        for name in path[:-1]:
            fields = descriptor_of(message)
            parent = fields.fields_by_name.get(name) or fields.fields_by_camelcase_name[name]
            message = cast(Message, getattr(message, parent.name))
            message.SetInParent()
        _set(message, field, texts)
    except (ValueError, TypeError, OverflowError) as error:
        raise DecodeError(f"{'.'.join(path)}: {error}") from error
    return True


def _set(message: Message, field: FieldDescriptor, texts: Sequence[str]) -> None:
    if field.message_type is None:
        parse = parse_of(field, from_text=True)
        if field.is_repeated:
            getattr(message, field.name).extend([parse(text) for text in texts])
        else:
            setattr(message, field.name, parse(texts[-1]))
        return
    for text in texts if field.is_repeated else texts[-1:]:
        value = getattr(message, field.name)
        part = value.add() if field.is_repeated else value
        if field.message_type.full_name in _WRAPPERS:
            part.SetInParent()
            part.value = parse_of(field.message_type.fields_by_name["value"], from_text=True)(text)
        else:
            part.FromJsonString(text)
