"""How the registry writes what it keeps into kv: keys that can be read with etcdctl, and JSON.

    /orrery/registry/v1/nodes/<node>
    /orrery/registry/v1/instances/<node>/<instance id>
    /orrery/registry/v1/checks/<node>/<check id>
    /orrery/registry/v1/beats/<node>/<check id>          attached to the lease of a TTL check
    /orrery/registry/v1/processes/<process>              attached to the lease of a process
    /orrery/registry/v1/gone-services/<service>          notes of removals
    /orrery/registry/v1/gone-nodes/<node>
    /orrery/registry/v1/gone-floor/

Names of nodes, services and processes have no slash; ids may have.

A record that cannot be read does not stop anybody: it is taken for one that is there and not shown.
"""

import msgspec

from services.registry import limits
from services.registry.catalogue import (
    BeatRecord,
    CheckRecord,
    GoneRecord,
    Key,
    KeyKind,
    ProcessRecord,
    Record,
    Unreadable,
)
from services.registry.domain import Instance, Node
from services.registry.interface import Invalid
from services.registry.validation import check_definition, check_instance, check_node

PREFIX = b"/orrery/registry/v1/"
_KINDS = {kind.value: kind for kind in KeyKind}
_HAVE_ID = frozenset({KeyKind.INSTANCE, KeyKind.CHECK, KeyKind.BEAT})
_DECODERS: dict[KeyKind, msgspec.json.Decoder[Record]] = {
    KeyKind.NODE: msgspec.json.Decoder(Node),
    KeyKind.INSTANCE: msgspec.json.Decoder(Instance),
    KeyKind.CHECK: msgspec.json.Decoder(CheckRecord),
    KeyKind.BEAT: msgspec.json.Decoder(BeatRecord),
    KeyKind.PROCESS: msgspec.json.Decoder(ProcessRecord),
    KeyKind.GONE_SERVICE: msgspec.json.Decoder(GoneRecord),
    KeyKind.GONE_NODE: msgspec.json.Decoder(GoneRecord),
    KeyKind.GONE_FLOOR: msgspec.json.Decoder(GoneRecord),
}
_encoder = msgspec.json.Encoder()


def encode_key(key: Key) -> bytes:
    """The key in kv."""
    path = f"{key.kind.value}/{key.name}/{key.id}" if key.kind in _HAVE_ID else f"{key.kind.value}/{key.name}"
    return PREFIX + path.encode()


def encode_prefix(kind: KeyKind, node: str) -> bytes:
    """What the keys of a node's instances, checks or beats begin with."""
    return PREFIX + f"{kind.value}/{node}/".encode()


def decode_key(raw: bytes) -> Key | None:
    """The key, or None when it is none of ours. Never fails."""
    try:
        kind_text, _, rest = raw[len(PREFIX) :].decode().partition("/")
    except UnicodeDecodeError:
        return None
    kind = _KINDS.get(kind_text)
    if kind is None or not raw.startswith(PREFIX):
        return None
    if kind in _HAVE_ID:
        name, _, id_ = rest.partition("/")
        return Key(kind, name, id_) if name and id_ else None
    if kind is KeyKind.GONE_FLOOR:
        return Key(kind, "") if not rest else None
    return Key(kind, rest) if rest and "/" not in rest else None


def encode_value(record: Record) -> bytes:
    """The value in kv."""
    assert not isinstance(record, Unreadable)
    return _encoder.encode(record)


def decode_value(key: Key, raw: bytes) -> Record:
    """The record, Unreadable when it cannot be understood or is not what its key says. Never fails."""
    if len(raw) > limits.RECORD_BYTES_MAX:
        return Unreadable(f"longer than {limits.RECORD_BYTES_MAX} bytes")
    try:
        record = _DECODERS[key.kind].decode(raw)
        _check(key, record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Invalid) as error:
        return Unreadable(str(error))
    return record


def _check(key: Key, record: Record) -> None:
    """What the heads rely on holds for records that somebody else wrote, too. Raises Invalid."""
    if isinstance(record, Instance):
        check_instance(record)
        same = (record.node, record.id) == key[1:]
    elif isinstance(record, CheckRecord):
        check_definition(record.definition, "check")
        same = record.definition.id == key.id
    elif isinstance(record, Node):
        check_node(record)
        same = record.name == key.name
    else:
        return
    if not same:
        raise Invalid("it names itself otherwise than its key does")
