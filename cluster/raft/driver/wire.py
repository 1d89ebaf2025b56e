"""Between the core's messages and the protobuf ones of `proto/orrery/raft/v1/raft.proto`.

Reading checks what the types cannot: kinds that are not known, counts beyond their limits, and ids that are 0. Sizes
are bounded by the message size limit of the RPC engine.
"""

from collections.abc import Sequence

from cluster.pb.orrery.raft.v1 import raft_pb2 as pb
from cluster.raft.core.types import Configuration, Entry, EntryKind, Message, MessageKind, SnapshotMeta
from cluster.raft.driver.records import MEMBERS_COUNT_MAX
from cluster.raft.driver.transport import GroupMessage, SnapshotChunk, SnapshotReceipt

MESSAGES_PER_BATCH_MAX = 65_536
"""The most messages in one batch."""
ENTRIES_PER_MESSAGE_MAX = 65_536
"""The most entries in one message."""
CONTEXT_BYTES_MAX = 64
"""The longest context of a read or vote."""

_KINDS = {int(kind): kind for kind in MessageKind}
_ENTRY_KINDS = {int(kind): kind for kind in EntryKind}


def encode(item: GroupMessage) -> pb.Message:
    """One message for the wire."""
    group, message = item
    wire = pb.Message(
        group=group,
        kind=message.kind,
        source=message.source,
        target=message.target,
        term=message.term,
        index=message.index,
        log_term=message.log_term,
        commit=message.commit,
        reject=message.reject,
        reject_hint=message.reject_hint,
        context=message.context,
        life=message.life,
        withheld=message.withheld,
    )
    if message.entries:
        wire.entries.extend(
            [pb.Entry(index=index, term=term, kind=kind, data=data) for index, term, kind, data in message.entries]
        )
    if message.snapshot is not None:
        wire.snapshot.CopyFrom(_encode_meta(message.snapshot))
    return wire


def encode_batch(cluster_id: int, messages: Sequence[GroupMessage]) -> pb.MessageBatch:
    """Messages of one turn to one peer."""
    return pb.MessageBatch(cluster=cluster_id, messages=[encode(item) for item in messages])


def encode_chunk(cluster_id: int, chunk: SnapshotChunk) -> pb.SnapshotChunk:
    """One piece of a snapshot."""
    wire = pb.SnapshotChunk(offset=chunk.offset, data=chunk.data, crc=chunk.crc)
    if chunk.announcement is not None:
        wire.cluster = cluster_id
        wire.total_bytes = chunk.total_bytes
        wire.announcement.CopyFrom(encode(chunk.announcement))
    return wire


def encode_receipt(receipt: SnapshotReceipt) -> pb.SnapshotReceipt:
    """The answer to a snapshot stream."""
    return pb.SnapshotReceipt(received_bytes=receipt.received_bytes, installed=receipt.installed)


def decode(wire: pb.Message) -> GroupMessage:
    """Raises ValueError when the message makes no sense."""
    kind = _KINDS.get(wire.kind)
    if kind is None or not wire.source or not wire.target:
        raise ValueError(f"a message of kind {wire.kind} from {wire.source} to {wire.target}")
    if len(wire.entries) > ENTRIES_PER_MESSAGE_MAX or len(wire.context) > CONTEXT_BYTES_MAX:
        raise ValueError(f"{len(wire.entries)} entries, a context of {len(wire.context)} bytes")
    try:
        entries = tuple(
            [Entry(entry.index, entry.term, _ENTRY_KINDS[entry.kind], entry.data) for entry in wire.entries]
        )
    except KeyError as error:
        raise ValueError(f"an entry of kind {error}") from error
    snapshot = _decode_meta(wire.snapshot) if wire.HasField("snapshot") else None
    return GroupMessage(
        wire.group,
        Message(
            kind,
            wire.source,
            wire.target,
            wire.term,
            wire.index,
            wire.log_term,
            entries,
            wire.commit,
            wire.reject,
            wire.reject_hint,
            wire.context,
            snapshot,
            wire.life,
            wire.withheld,
        ),
    )


def decode_batch(wire: pb.MessageBatch) -> list[GroupMessage]:
    """Raises ValueError when any message makes no sense."""
    if len(wire.messages) > MESSAGES_PER_BATCH_MAX:
        raise ValueError(f"{len(wire.messages)} messages in a batch")
    return [decode(message) for message in wire.messages]


def decode_chunk(wire: pb.SnapshotChunk) -> SnapshotChunk:
    """Raises ValueError when the announcement makes no sense."""
    announcement = decode(wire.announcement) if wire.HasField("announcement") else None
    return SnapshotChunk(announcement, wire.total_bytes, wire.offset, wire.data, wire.crc)


def decode_receipt(wire: pb.SnapshotReceipt) -> SnapshotReceipt:
    """The answer to a snapshot stream."""
    return SnapshotReceipt(wire.received_bytes, wire.installed)


def _encode_meta(meta: SnapshotMeta) -> pb.SnapshotMeta:
    configuration = meta.configuration
    return pb.SnapshotMeta(
        index=meta.index,
        term=meta.term,
        configuration=pb.Configuration(
            voters=sorted(configuration.voters),
            voters_outgoing=sorted(configuration.voters_outgoing),
            learners=sorted(configuration.learners),
            learners_next=sorted(configuration.learners_next),
            auto_leave=configuration.auto_leave,
        ),
    )


def _decode_meta(wire: pb.SnapshotMeta) -> SnapshotMeta:
    members = wire.configuration
    sets = (members.voters, members.voters_outgoing, members.learners, members.learners_next)
    if any(len(each) > MEMBERS_COUNT_MAX for each in sets):
        raise ValueError("too many members in a configuration")
    voters, outgoing, learners, learners_next = (frozenset(each) for each in sets)
    configuration = Configuration(voters, outgoing, learners, learners_next, members.auto_leave)
    return SnapshotMeta(wire.index, wire.term, configuration)
