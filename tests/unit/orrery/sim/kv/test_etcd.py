import pytest

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    Compare,
    DeleteRangeResponse,
    PutResponse,
    RangeResponse,
    ResponseHeader,
    ResponseOp,
    TxnResponse,
)
from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from orrery.sim.kv import etcd

FOUND = KeyValue(key=b"a", value=b"x", version=3, create_revision=4, mod_revision=9)


def test_the_end_of_a_prefix_is_right_behind_all_its_keys() -> None:
    assert etcd.prefix_end("r/1/") == b"r/10"


@pytest.mark.parametrize(
    ("found", "revision", "versions", "expected"),
    [
        (None, 12, True, {"value": None, "revision": 12}),
        (FOUND, 12, False, {"value": "x", "create_revision": 4, "mod_revision": 9, "revision": 12}),
        (FOUND, None, True, {"value": "x", "create_revision": 4, "mod_revision": 9, "version": 3}),
    ],
)
def test_what_a_get_told(found: KeyValue | None, revision: int | None, versions: bool, expected: object) -> None:
    assert etcd.seen(found, revision, versions=versions) == expected


def test_a_transaction_there_and_back() -> None:
    asked = etcd.transaction(
        {
            "compare": [["a", "value", "=", "x"], ["b", "mod_revision", "=", 7]],
            "then": [["put", "a", "y"], ["get", "b"], ["delete", "c"]],
            "else": [["get", "a"]],
        }
    )
    assert [(each.target, each.value, each.mod_revision) for each in asked.compare] == [
        (Compare.VALUE, b"x", 0),
        (Compare.MOD, b"", 7),
    ]
    assert [each.WhichOneof("request") for each in asked.success] == [
        "request_put",
        "request_range",
        "request_delete_range",
    ]
    assert asked.success[0].request_put.value == b"y"
    assert asked.failure[0].request_range.key == b"a"
    answer = TxnResponse(
        header=ResponseHeader(revision=10),
        succeeded=True,
        responses=[
            ResponseOp(response_put=PutResponse()),
            ResponseOp(response_range=RangeResponse(kvs=[FOUND])),
            ResponseOp(response_range=RangeResponse()),
            ResponseOp(response_delete_range=DeleteRangeResponse(deleted=1)),
        ],
    )
    assert etcd.transacted(answer, versions=False) == {
        "succeeded": True,
        "revision": 10,
        "results": [
            None,
            {"value": "x", "create_revision": 4, "mod_revision": 9},
            {"value": None},
            {"deleted": 1},
        ],
    }
