"""Requests of etcd's API and their answers in the history's words (docs/checkers.md, `kv`)."""

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from orrery.checkers.history import Json

_TARGETS = {
    "create_revision": Compare.CREATE,
    "mod_revision": Compare.MOD,
    "version": Compare.VERSION,
    "value": Compare.VALUE,
}


def prefix_end(prefix: str) -> bytes:
    """The end of the range of all keys that begin with it. The prefix ends in a character below 127."""
    return (prefix[:-1] + chr(ord(prefix[-1]) + 1)).encode()


def seen(found: KeyValue | None, revision: int | None, *, versions: bool) -> Json:
    """What a get told; `revision` is the store's, of the header."""
    told: dict[str, Json] = {"value": None if found is None else found.value.decode()}
    if found is not None:
        told |= {"create_revision": found.create_revision, "mod_revision": found.mod_revision}
        if versions:
            told["version"] = found.version
    if revision is not None:
        told["revision"] = revision
    return told


def equal(key: str, target: str, operand: int | str) -> Compare:
    """A comparison by `=`."""
    value = operand.encode() if isinstance(operand, str) else operand
    compare = Compare(result=Compare.EQUAL, target=_TARGETS[target], key=key.encode())
    setattr(compare, target, value)
    return compare


def put(key: str, value: str, lease: int = 0) -> RequestOp:
    """As a part of a transaction."""
    return RequestOp(request_put=PutRequest(key=key.encode(), value=value.encode(), lease=lease))


def get(key: str) -> RequestOp:
    """As a part of a transaction."""
    return RequestOp(request_range=RangeRequest(key=key.encode()))


def delete(key: str) -> RequestOp:
    """As a part of a transaction."""
    return RequestOp(request_delete_range=DeleteRangeRequest(key=key.encode()))


def request(step: Json) -> RequestOp:
    """A history's `["put", key, value]`, `["get", key]` or `["delete", key]`."""
    assert isinstance(step, list)
    name, key = str(step[0]), str(step[1])
    return put(key, str(step[2])) if name == "put" else get(key) if name == "get" else delete(key)


def transaction(value: dict[str, Json]) -> TxnRequest:
    """A history's `txn`; its comparisons are by `=`."""

    def parts(name: str) -> list[Json]:
        found = value.get(name, [])
        assert isinstance(found, list)
        return found

    compares = []
    for guard in parts("compare"):
        assert isinstance(guard, list)
        key, target, _, operand = guard
        assert isinstance(operand, int | str)
        compares.append(equal(str(key), str(target), operand))
    return TxnRequest(
        compare=compares,
        success=[request(step) for step in parts("then")],
        failure=[request(step) for step in parts("else")],
    )


def transacted(answer: TxnResponse, *, versions: bool) -> Json:
    """What a txn told."""
    results: list[Json] = []
    for each in answer.responses:
        if each.HasField("response_range"):
            found = each.response_range.kvs
            results.append(seen(found[0] if found else None, None, versions=versions))
        elif each.HasField("response_delete_range"):
            results.append({"deleted": each.response_delete_range.deleted})
        else:
            results.append(None)
    return {"succeeded": answer.succeeded, "revision": answer.header.revision, "results": results}
