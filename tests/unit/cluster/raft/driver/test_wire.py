"""The wire format: what is encoded is decoded, and any other protobuf is refused with ValueError and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.pb.orrery.raft.v1 import raft_pb2 as pb
from cluster.raft.core.types import Configuration, Entry, EntryKind, Message, MessageKind, SnapshotMeta
from cluster.raft.driver import GroupMessage, SnapshotChunk, wire

U64 = st.integers(0, 2**64 - 1)
IDS = st.integers(1, 2**64 - 1)
MEMBERS = st.frozensets(IDS, max_size=5)
METAS = st.builds(SnapshotMeta, U64, U64, st.builds(Configuration, MEMBERS, MEMBERS, MEMBERS, MEMBERS, st.booleans()))
ENTRIES = st.lists(st.builds(Entry, U64, U64, st.sampled_from(EntryKind), st.binary(max_size=30)), max_size=5)
MESSAGES = st.builds(
    GroupMessage,
    U64,
    st.builds(
        Message,
        st.sampled_from(MessageKind),
        IDS,
        IDS,
        U64,
        U64,
        U64,
        ENTRIES.map(tuple),
        U64,
        st.booleans(),
        U64,
        st.binary(max_size=64),
        st.none() | METAS,
        U64,
        st.booleans(),
    ),
)


@given(st.lists(MESSAGES, max_size=3))
def test_batches_round_trip(messages: list[GroupMessage]) -> None:
    data = wire.encode_batch(7, messages).SerializeToString()
    read = pb.MessageBatch.FromString(data)
    assert read.cluster == 7
    assert wire.decode_batch(read) == messages


@given(MESSAGES | st.none(), U64, st.binary(max_size=30))
def test_chunks_round_trip(announcement: GroupMessage | None, offset: int, data: bytes) -> None:
    chunk = SnapshotChunk(announcement, 99 if announcement else 0, offset, data, 12345)
    encoded = wire.encode_chunk(7, chunk).SerializeToString()
    assert wire.decode_chunk(pb.SnapshotChunk.FromString(encoded)) == chunk


@given(st.integers(0, 2**32 - 1), U64, U64, st.lists(st.integers(0, 2**32 - 1), max_size=3), st.binary(max_size=100))
def test_nonsense_is_refused_with_value_error(
    kind: int, source: int, target: int, entry_kinds: list[int], context: bytes
) -> None:
    message = pb.Message(kind=kind, source=source, target=target, context=context)
    message.entries.extend([pb.Entry(kind=entry_kind) for entry_kind in entry_kinds])
    try:
        decoded = wire.decode(message)
    except ValueError:
        return
    assert decoded.message.kind == kind
    assert decoded.message.source


def test_limits_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MESSAGES_PER_BATCH_MAX", 1)
    one = pb.Message(kind=3, source=1, target=2)
    with pytest.raises(ValueError):
        wire.decode_batch(pb.MessageBatch(messages=[one, one]))
    many = pb.Configuration(voters=range(1, 3000))
    with pytest.raises(ValueError):
        wire.decode(pb.Message(kind=9, source=1, target=2, snapshot=pb.SnapshotMeta(configuration=many)))
