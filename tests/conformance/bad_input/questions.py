"""What is asked of a cluster, in raw requests: what no client would send, and what no command line can express.

The questions are asked in order, on an empty store, so their revisions are known: question by question, the answers
of two clusters must be equal.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import grpc
from google.protobuf.message import Message

from cluster.pb.etcd.etcdserverpb import rpc_pb2 as pb
from cluster.pb.etcd.etcdserverpb import rpc_pb2_grpc

SECONDS_MAX = 10.0
LEASE = 0x5EA5E
"""A lease id of the questions' own choice."""
UNKNOWN_LEASE = 0xDEAD
OPERATIONS_MAX = 128
"""etcd's limit of operations in a branch of a transaction, and of its compares."""
REQUEST_BYTES_MAX = 3 * 512 * 1024
TTL_SECONDS_MAX = 9_000_000_000


class Unary(Protocol):
    """A method of a stub."""

    def __call__(self, request: Message, *, timeout: float) -> Message:
        """Asks, and returns the answer. Raises grpc.RpcError."""


@dataclass(frozen=True)
class Question:
    """One request."""

    name: str
    method: str
    """`Service.Rpc`."""
    request: Message


def put(key: bytes, value: bytes = b"x", lease: int = 0) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease))


def get(key: bytes, end: bytes = b"") -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key, range_end=end))


def delete(key: bytes, end: bytes = b"") -> pb.RequestOp:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, range_end=end))


def txn(request: pb.TxnRequest) -> pb.RequestOp:
    return pb.RequestOp(request_txn=request)


CRUSHING = [
    Question("sort order that is none", "KV.Range", pb.RangeRequest(key=b"r/", range_end=b"r0", sort_order=7)),  # type: ignore[arg-type]
    Question(
        "sort target that is none",
        "KV.Range",
        pb.RangeRequest(key=b"r/", range_end=b"r0", sort_order=1, sort_target=9),  # type: ignore[arg-type]
    ),
]
"""Requests that no answer of etcd's can be compared with."""


def questions() -> Iterator[Question]:
    """All of them, in order."""
    yield from _ranges()
    yield from _puts()
    yield from _transactions()
    yield from _leases()
    yield from _compaction()
    yield from _sizes()
    yield from _cluster()


def _ranges() -> Iterator[Question]:
    def ask(name: str, **fields: object) -> Question:
        return Question(f"range: {name}", "KV.Range", pb.RangeRequest(**fields))  # type: ignore[arg-type]

    for number, value in enumerate((b"c", b"b", b"d", b"a")):
        request = pb.PutRequest(key=b"r/%d" % number, value=value)
        yield Question(f"put r/{number}", "KV.Put", request)
    yield Question("put r/1 again", "KV.Put", pb.PutRequest(key=b"r/1", value=b"z", prev_kv=True))
    yield ask("empty key")
    yield ask("empty key with an end", range_end=b"z")
    yield ask("one key", key=b"r/1")
    yield ask("everything", key=b"\0", range_end=b"\0")
    yield ask("from a key on", key=b"r/2", range_end=b"\0")
    yield ask("upside down", key=b"r/3", range_end=b"r/1")
    yield ask("empty range", key=b"r/1", range_end=b"r/1")
    yield ask("count only", key=b"r/", range_end=b"r0", count_only=True)
    yield ask("count only with a limit", key=b"r/", range_end=b"r0", count_only=True, limit=1)
    yield ask("keys only", key=b"r/", range_end=b"r0", keys_only=True)
    yield ask("limit", key=b"r/", range_end=b"r0", limit=3)
    yield ask("negative limit", key=b"r/", range_end=b"r0", limit=-1)
    yield ask("future revision", key=b"r/1", revision=1000)
    yield ask("negative revision", key=b"r/1", revision=-5)
    yield ask("old revision", key=b"r/1", revision=3)
    yield ask("first revision", key=b"r/1", revision=1)
    yield ask("least modification revision", key=b"r/", range_end=b"r0", min_mod_revision=4)
    yield ask("greatest modification revision", key=b"r/", range_end=b"r0", max_mod_revision=3)
    yield ask("least creation revision", key=b"r/", range_end=b"r0", min_create_revision=4)
    yield ask("greatest creation revision", key=b"r/", range_end=b"r0", max_create_revision=3)
    yield ask("filter with a limit", key=b"r/", range_end=b"r0", min_mod_revision=3, limit=1)
    for order in (1, 2):
        for target in range(5):
            yield ask(
                f"order {order} by target {target}",
                key=b"r/",
                range_end=b"r0",
                sort_order=order,
                sort_target=target,
                limit=3,
            )
    yield ask("target without an order", key=b"r/", range_end=b"r0", sort_target=4)
    yield ask("serializable", key=b"r/1", serializable=True)


def _puts() -> Iterator[Question]:
    def ask(name: str, **fields: object) -> Question:
        return Question(f"put: {name}", "KV.Put", pb.PutRequest(**fields))  # type: ignore[arg-type]

    yield ask("empty key", value=b"x")
    yield ask("unknown lease", key=b"p", value=b"x", lease=UNKNOWN_LEASE)
    yield ask("keeping the value of a missing key", key=b"p", ignore_value=True)
    yield ask("keeping the lease of a missing key", key=b"p", value=b"x", ignore_lease=True)
    yield ask("keeping the value and giving one", key=b"r/1", value=b"x", ignore_value=True)
    yield ask("keeping the lease and giving one", key=b"r/1", value=b"x", ignore_lease=True, lease=UNKNOWN_LEASE)
    yield ask("keeping both", key=b"r/1", ignore_value=True, ignore_lease=True, prev_kv=True)
    yield ask("zero bytes in the key", key=b"\0\0", value=b"\0", prev_kv=True)
    yield ask("all the bytes there are", key=bytes(range(256)), value=bytes(range(256)))
    yield Question("delete: empty key", "KV.DeleteRange", pb.DeleteRangeRequest())
    yield Question("delete: nothing there", "KV.DeleteRange", pb.DeleteRangeRequest(key=b"nothing", prev_kv=True))
    yield Question("delete: upside down", "KV.DeleteRange", pb.DeleteRangeRequest(key=b"r/3", range_end=b"r/1"))
    yield Question(
        "delete: with what was there", "KV.DeleteRange", pb.DeleteRangeRequest(key=b"\0", range_end=b"a", prev_kv=True)
    )


def _transactions() -> Iterator[Question]:
    def ask(name: str, **fields: object) -> Question:
        return Question(f"txn: {name}", "KV.Txn", pb.TxnRequest(**fields))  # type: ignore[arg-type]

    many = [get(b"r/%d" % number) for number in range(OPERATIONS_MAX + 1)]
    exists = [pb.Compare(result=pb.Compare.GREATER, target=pb.Compare.VERSION, key=b"r/1", version=0)]
    yield ask("empty")
    yield ask("an operation that is none", success=[pb.RequestOp()])
    yield ask("as many operations as are allowed", success=many[:-1])
    yield ask("too many operations", success=many)
    yield ask("too many operations if it fails", failure=many)
    yield ask("too many compares", compare=exists * (OPERATIONS_MAX + 1))
    yield ask("too many operations inside", success=[txn(pb.TxnRequest(success=many))])
    yield ask("one key put twice", success=[put(b"t"), put(b"t")])
    yield ask("one key put twice if it fails", failure=[put(b"t"), put(b"t")])
    yield ask("put and delete", success=[put(b"t"), delete(b"t")])
    yield ask("delete and put", success=[delete(b"t"), put(b"t")])
    yield ask("put inside a deleted range", success=[put(b"t/5"), delete(b"t/", b"t0")])
    yield ask("put at the end of a deleted range", success=[put(b"t0"), delete(b"t/", b"t0")])
    yield ask("two deletes of one key", success=[delete(b"t"), delete(b"t")])
    yield ask("one key put inside and outside", success=[put(b"t"), txn(pb.TxnRequest(success=[put(b"t")]))])
    yield ask(
        "one key put in both inner branches",
        success=[txn(pb.TxnRequest(success=[put(b"t")], failure=[put(b"t")]))],
    )
    yield ask(
        "one key put in two inner transactions",
        success=[txn(pb.TxnRequest(success=[put(b"t")])), txn(pb.TxnRequest(success=[put(b"t")]))],
    )
    yield ask("both branches put one key", success=[put(b"t")], failure=[put(b"t")])
    yield ask("a key that is empty", success=[put(b"")])
    yield ask("a read of an empty key", success=[get(b"")])
    yield ask("a delete of an empty key", success=[delete(b"")])
    yield ask("an empty key in the branch that is not taken", compare=exists, success=[get(b"r/1")], failure=[put(b"")])
    yield ask("a compare of an empty key", compare=[pb.Compare()])
    yield ask("an unknown lease", success=[put(b"t/a"), put(b"t/b", lease=UNKNOWN_LEASE)])
    yield ask("nothing of it was written", success=[get(b"t/a")])
    yield ask(
        "a future revision inside",
        success=[pb.RequestOp(request_range=pb.RangeRequest(key=b"r/1", revision=100000))],
    )
    yield ask(
        "a kept value of a missing key",
        success=[pb.RequestOp(request_put=pb.PutRequest(key=b"t/none", ignore_value=True))],
    )
    for target, field in (("VERSION", "version"), ("CREATE", "create_revision"), ("MOD", "mod_revision")):
        for result in ("EQUAL", "GREATER", "LESS", "NOT_EQUAL"):
            compare = pb.Compare(
                result=pb.Compare.CompareResult.Value(result),
                target=pb.Compare.CompareTarget.Value(target),
                key=b"r/1",
                **{field: 3},  # type: ignore[arg-type]
            )
            yield ask(f"{target} {result}", compare=[compare], success=[get(b"r/1")])
    for result in ("EQUAL", "GREATER", "LESS", "NOT_EQUAL"):
        kind = pb.Compare.CompareResult.Value(result)
        value = pb.Compare(result=kind, target=pb.Compare.VALUE, key=b"r/0", value=b"c")
        yield ask(f"VALUE {result}", compare=[value])
        missing = pb.Compare(result=kind, target=pb.Compare.VALUE, key=b"none", value=b"")
        yield ask(f"VALUE {result} of a missing key", compare=[missing])
        lease = pb.Compare(result=kind, target=pb.Compare.LEASE, key=b"r/0", lease=0)
        yield ask(f"LEASE {result}", compare=[lease])
        several = pb.Compare(result=kind, target=pb.Compare.VERSION, key=b"r/", range_end=b"r0", version=1)
        yield ask(f"VERSION {result} of a range", compare=[several])
        nothing = pb.Compare(result=kind, target=pb.Compare.VERSION, key=b"n/", range_end=b"n0", version=0)
        yield ask(f"VERSION {result} of an empty range", compare=[nothing])
    yield ask(
        "inner compares see what was before",
        success=[
            put(b"t/inner"),
            txn(
                pb.TxnRequest(
                    compare=[pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.VERSION, key=b"t/inner", version=0)],
                    success=[put(b"t/then"), get(b"t/inner")],
                    failure=[put(b"t/else")],
                )
            ),
            get(b"t/then"),
        ],
    )
    # The last of them, for it is allowed: the overlap is judged by the end as it is written, not by what it means.
    yield ask("put and delete of everything", success=[put(b"t"), delete(b"\0", b"\0")])
    yield ask("everything is gone", success=[get(b"\0", b"\0")])


def _leases() -> Iterator[Question]:
    yield Question("lease: granted", "Lease.LeaseGrant", pb.LeaseGrantRequest(ID=LEASE, TTL=600))
    yield Question("lease: granted again", "Lease.LeaseGrant", pb.LeaseGrantRequest(ID=LEASE, TTL=600))
    yield Question("lease: most time", "Lease.LeaseGrant", pb.LeaseGrantRequest(ID=LEASE + 1, TTL=TTL_SECONDS_MAX))
    yield Question("lease: too much time", "Lease.LeaseGrant", pb.LeaseGrantRequest(ID=7, TTL=TTL_SECONDS_MAX + 1))
    yield Question("lease: revoke an unknown one", "Lease.LeaseRevoke", pb.LeaseRevokeRequest(ID=UNKNOWN_LEASE))
    yield Question("lease: revoke none", "Lease.LeaseRevoke", pb.LeaseRevokeRequest())
    yield Question(
        "lease: time of an unknown one", "Lease.LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=UNKNOWN_LEASE, keys=True)
    )
    yield Question("lease: list", "Lease.LeaseLeases", pb.LeaseLeasesRequest())
    yield Question("lease: put with it", "KV.Put", pb.PutRequest(key=b"l", value=b"1", lease=LEASE))
    yield Question("lease: keep it", "KV.Put", pb.PutRequest(key=b"l", value=b"2", ignore_lease=True, prev_kv=True))
    equal = pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.LEASE, key=b"l", lease=LEASE)
    yield Question("lease: compare", "KV.Txn", pb.TxnRequest(compare=[equal], success=[get(b"l")]))
    yield Question("lease: revoked", "Lease.LeaseRevoke", pb.LeaseRevokeRequest(ID=LEASE))
    yield Question("lease: its key is gone", "KV.Range", pb.RangeRequest(key=b"l"))
    yield Question("lease: revoked again", "Lease.LeaseRevoke", pb.LeaseRevokeRequest(ID=LEASE))


def _compaction() -> Iterator[Question]:
    yield Question("put r/1 once more", "KV.Put", pb.PutRequest(key=b"r/1", value=b"y"))
    yield Question("compact", "KV.Compact", pb.CompactionRequest(revision=4, physical=True))
    yield Question("compact: again", "KV.Compact", pb.CompactionRequest(revision=4))
    yield Question("compact: less", "KV.Compact", pb.CompactionRequest(revision=2))
    yield Question("compact: nothing", "KV.Compact", pb.CompactionRequest())
    yield Question("compact: negative", "KV.Compact", pb.CompactionRequest(revision=-1))
    yield Question("compact: the future", "KV.Compact", pb.CompactionRequest(revision=100000))
    yield Question("compacted: range", "KV.Range", pb.RangeRequest(key=b"r/1", revision=3))
    yield Question("compacted: the revision itself", "KV.Range", pb.RangeRequest(key=b"r/1", revision=4))
    yield Question(
        "compacted: range in a transaction",
        "KV.Txn",
        pb.TxnRequest(success=[pb.RequestOp(request_range=pb.RangeRequest(key=b"r/1", revision=3))]),
    )


def _sizes() -> Iterator[Question]:
    yield Question("size: as much as fits", "KV.Put", pb.PutRequest(key=b"s", value=b"v" * (REQUEST_BYTES_MAX - 100)))
    yield Question("size: too much", "KV.Put", pb.PutRequest(key=b"s", value=b"v" * (REQUEST_BYTES_MAX + 1)))
    yield Question("size: a key that is too much", "KV.Put", pb.PutRequest(key=b"k" * (REQUEST_BYTES_MAX + 1)))
    half = b"v" * (REQUEST_BYTES_MAX // 2 + 100)
    yield Question(
        "size: too much in a transaction", "KV.Txn", pb.TxnRequest(success=[put(b"s/1", half), put(b"s/2", half)])
    )
    yield Question("size: nothing of it was written", "KV.Range", pb.RangeRequest(key=b"s/", range_end=b"s0"))
    yield Question("size: it is gone", "KV.DeleteRange", pb.DeleteRangeRequest(key=b"s"))


def _cluster() -> Iterator[Question]:
    yield Question("the last revision", "KV.Range", pb.RangeRequest(key=b"r/1"))


def ask(address: str, asked: list[Question]) -> dict[str, str]:
    """Asks everything of one member; returns each answer as text: the message, or the code and what was said."""
    answers = {}
    with grpc.insecure_channel(address) as channel:
        services = {
            "KV": rpc_pb2_grpc.KVStub(channel),
            "Lease": rpc_pb2_grpc.LeaseStub(channel),
            "Maintenance": rpc_pb2_grpc.MaintenanceStub(channel),
        }
        for question in asked:
            service, _, rpc = question.method.partition(".")
            method: Callable[..., Message] = getattr(services[service], rpc)
            try:
                answers[question.name] = comparable(method(question.request, timeout=SECONDS_MAX))
            except grpc.RpcError as error:
                answers[question.name] = f"{error.code().name}: {error.details()}"
    return answers


def comparable(answer: Message) -> str:
    """The answer as text, without the ids and the term of its header. Its revision stays.

    Leases are put in the order of their ids: etcd orders them by when they end, so two that were granted at about the
    same time and for as long may change places, from one etcd to the next.
    """
    if isinstance(answer, pb.LeaseLeasesResponse):
        answer.leases.sort(key=lambda lease: lease.ID)
    header = getattr(answer, "header", None)
    if isinstance(header, pb.ResponseHeader):
        header.ClearField("cluster_id")
        header.ClearField("member_id")
        header.ClearField("raft_term")
    return str(answer)
