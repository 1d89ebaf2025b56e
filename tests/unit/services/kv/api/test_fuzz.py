"""Requests of any shape: each is answered, or refused with a code that a client can act upon, never with a bug's."""

from collections.abc import Callable

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from grpc import StatusCode, aio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.pb.etcd.etcdserverpb import rpc_pb2 as pb
from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from runtime.real import SystemClock, SystemRandomness
from services.kv.local_node import LocalNode

BUGS = {StatusCode.INTERNAL, StatusCode.UNKNOWN}
BYTES = st.sampled_from([b"", b"\0", b"a", b"b", b"c", b"\xff", bytes(200)])
INTEGERS = st.sampled_from([-(1 << 63), -2, -1, 0, 1, 2, 3, 5, 99, (1 << 63) - 1])
DEPTH_MAX = 4


@st.composite
def messages(draw: st.DrawFn, kind: type[Message], depth: int = 0) -> Message:
    """A message with fields drawn at random, oneofs and nesting included."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        if field.message_type is not None:
            if depth < DEPTH_MAX:
                nested = messages(getattr(pb, field.message_type.name, KeyValue), depth + 1)
                if field.is_repeated:
                    getattr(message, field.name).extend(draw(st.lists(nested, max_size=3)))
                else:
                    getattr(message, field.name).CopyFrom(draw(nested))
            continue
        values: dict[int, st.SearchStrategy[object]] = {
            FieldDescriptor.CPPTYPE_INT64: INTEGERS,
            FieldDescriptor.CPPTYPE_UINT64: INTEGERS.map(abs),
            FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
            FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 6),
            FieldDescriptor.CPPTYPE_STRING: BYTES if field.type == FieldDescriptor.TYPE_BYTES else st.just("x"),
        }
        value = values[field.cpp_type]
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(value, max_size=3)))
        else:
            setattr(message, field.name, draw(value))
    return message


UNARY: list[tuple[str, str, type[Message]]] = [
    ("kv", "Range", pb.RangeRequest),
    ("kv", "Put", pb.PutRequest),
    ("kv", "DeleteRange", pb.DeleteRangeRequest),
    ("kv", "Txn", pb.TxnRequest),
    ("kv", "Compact", pb.CompactionRequest),
    ("lease", "LeaseGrant", pb.LeaseGrantRequest),
    ("lease", "LeaseRevoke", pb.LeaseRevokeRequest),
    ("lease", "LeaseTimeToLive", pb.LeaseTimeToLiveRequest),
    ("lease", "LeaseLeases", pb.LeaseLeasesRequest),
    ("cluster", "MemberList", pb.MemberListRequest),
    ("maintenance", "Alarm", pb.AlarmRequest),
    ("maintenance", "HashKV", pb.HashKVRequest),
]
CALLS = st.sampled_from(UNARY).flatmap(lambda call: st.tuples(st.just(call[0]), st.just(call[1]), messages(call[2])))
WATCHES = st.lists(messages(pb.WatchRequest), max_size=6)


@given(calls=st.lists(CALLS, max_size=20), watches=WATCHES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_any_request_is_answered_or_refused(
    calls: list[tuple[str, str, Message]], watches: list[Message]
) -> None:
    async with LocalNode.start(clock=SystemClock(), random=SystemRandomness()) as node:
        watch = node.watch.Watch()
        for request in watches:
            assert isinstance(request, pb.WatchRequest)
            await watch.write(request)
        for head, name, request in calls:
            method: Callable[[Message], object] = getattr(getattr(node, head), name)
            try:
                await method(request)  # type: ignore[misc]
            except aio.AioRpcError as error:
                if error.code() in BUGS:
                    pytest.fail(f"{name} {request}: {error.details()}")
        before = (await node.kv.Put(pb.PutRequest(key=b"end"))).header.revision
        # From that revision on: nothing says whether the server reads the watch's stream or the put first.
        end = pb.WatchCreateRequest(key=b"end", start_revision=before)
        await watch.write(pb.WatchRequest(create_request=end))
        async for response in watch:
            if any(event.kv.mod_revision == before for event in response.events):
                break
        else:
            pytest.fail("the watch ended")
        watch.cancel()
