"""Commands of the replicated log, as bytes.

A Command has one field, whose content is a message that came from a client or from a task of this service. Setting it
in a Command would copy the message; its bytes are put under the field's tag instead, so it is serialized once.
"""

from google.protobuf.message import Message

from cluster.pb.orrery.kv.v1.command_pb2 import Command
from services.kv.mvcc.wire import varint

_WIRE_TYPE_BYTES = 2


def _tag(name: str) -> bytes:
    return varint(Command.DESCRIPTOR.fields_by_name[name].number << 3 | _WIRE_TYPE_BYTES)


PUT = _tag("put")
DELETE_RANGE = _tag("delete_range")
TXN = _tag("txn")
COMPACT = _tag("compact")
LEASE_GRANT = _tag("lease_grant")
LEASE_REVOKE = _tag("lease_revoke")
LEASE_EXPIRE = _tag("lease_expire")
LEASE_CHECKPOINT = _tag("lease_checkpoint")
LESSOR_EPOCH = _tag("lessor_epoch")
MEMBER_ATTRIBUTES = _tag("member_attributes")


def encode(tag: bytes, message: Message) -> bytes:
    """The command that carries `message`; `tag` is one of the constants here, and fits the message's type."""
    data = message.SerializeToString()
    return tag + varint(len(data)) + data
