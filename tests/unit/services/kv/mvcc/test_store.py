"""The store of revisions against the simplest model there is: a full copy of all pairs for every revision.

Method: hypothesis draws puts, deletions, transactions, leases, compactions, physical reclaiming and snapshots with
restores; after each step, random reads at random revisions must give what the model says.
"""

from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    PutResponse,
    RangeRequest,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from services.kv import commands
from services.kv.mvcc.ranges import read_range
from services.kv.mvcc.snapshots import SnapshotReader
from services.kv.refusals import COMPACTED, FUTURE_REVISION, LEASE_EXISTS, LEASE_NOT_FOUND, Refused
from services.kv.state_machine import KvStateMachine, Result
from storage.memory import MemoryEngine

KEYS = st.sampled_from([b"a", b"aa", b"ab", b"b", b"c", b"c\0", b"d", b"\xff", b"\xff\xff"])
ENDS = st.one_of(st.just(b""), st.just(b"\0"), KEYS)
VALUES = st.binary(max_size=3)
LEASES = st.integers(1, 4)


@dataclass(frozen=True)
class Pair:
    key: bytes
    value: bytes
    create: int
    mod: int
    version: int
    lease: int


def pair_of(message: KeyValue) -> Pair:
    return Pair(
        message.key, message.value, message.create_revision, message.mod_revision, message.version, message.lease
    )


def in_range(key: bytes, low: bytes, end: bytes) -> bool:
    return key == low if not end else key >= low and (end == b"\0" or key < end)


class Model:
    def __init__(self) -> None:
        self.past: dict[int, dict[bytes, Pair]] = {1: {}}
        self.revision = 1
        self.compacted = -1
        self.leases: set[int] = set()

    @property
    def now(self) -> dict[bytes, Pair]:
        return self.past[self.revision]

    def commit(self, after: dict[bytes, Pair], changed: bool) -> None:
        if changed:
            self.revision += 1
            self.past[self.revision] = after

    def put(self, pairs: dict[bytes, Pair], key: bytes, value: bytes, lease: int) -> None:
        old = pairs.get(key)
        at = self.revision + 1
        pairs[key] = Pair(key, value, old.create if old else at, at, old.version + 1 if old else 1, lease)

    def delete(self, pairs: dict[bytes, Pair], low: bytes, end: bytes) -> list[Pair]:
        doomed = [pairs[key] for key in sorted(pairs) if in_range(key, low, end)]
        for pair in doomed:
            del pairs[pair.key]
        return doomed


class StoreAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.machine = KvStateMachine(MemoryEngine)
        self.model = Model()
        self.index = 0

    def do(self, command: bytes) -> Result:
        self.index += 1
        (result,) = self.machine.apply([(self.index, command)])
        return result

    @rule(key=KEYS, value=VALUES, lease=st.just(0) | LEASES, prev=st.booleans())
    def put(self, key: bytes, value: bytes, lease: int, prev: bool) -> None:
        result = self.do(commands.encode(commands.PUT, PutRequest(key=key, value=value, lease=lease, prev_kv=prev)))
        if lease and lease not in self.model.leases:
            assert result is LEASE_NOT_FOUND
            return
        old = self.model.now.get(key)
        after = dict(self.model.now)
        self.model.put(after, key, value, lease)
        self.model.commit(after, True)
        assert isinstance(result, PutResponse)
        assert result.header.revision == self.model.revision
        assert (pair_of(result.prev_kv) if result.HasField("prev_kv") else None) == (old if prev else None)

    @rule(key=KEYS, value=VALUES, which=st.sampled_from(["value", "lease", "both"]))
    def put_ignoring(self, key: bytes, value: bytes, which: str) -> None:
        old = self.model.now.get(key)
        if old is None:
            return
        request = PutRequest(key=key, ignore_value=which != "lease", ignore_lease=which != "value")
        if which == "lease":
            request.value = value
        assert isinstance(self.do(commands.encode(commands.PUT, request)), PutResponse)
        after = dict(self.model.now)
        self.model.put(
            after, key, value if which == "lease" else old.value, old.lease if which in ("lease", "both") else 0
        )
        self.model.commit(after, True)

    @rule(key=KEYS, end=ENDS, prev=st.booleans())
    def delete(self, key: bytes, end: bytes, prev: bool) -> None:
        result = self.do(
            commands.encode(commands.DELETE_RANGE, DeleteRangeRequest(key=key, range_end=end, prev_kv=prev))
        )
        after = dict(self.model.now)
        doomed = self.model.delete(after, key, end)
        self.model.commit(after, bool(doomed))
        assert isinstance(result, DeleteRangeResponse)
        assert result.deleted == len(doomed)
        assert result.header.revision == self.model.revision
        assert [pair_of(pair) for pair in result.prev_kvs] == (doomed if prev else [])

    @rule(
        guard=KEYS,
        wanted=st.integers(0, 3),
        puts=st.dictionaries(KEYS, VALUES, max_size=3),
        doomed=st.none() | KEYS,
        read=KEYS,
    )
    def transact(self, guard: bytes, wanted: int, puts: dict[bytes, bytes], doomed: bytes | None, read: bytes) -> None:
        """If guard's version is `wanted`: puts, a read in between, a nested deletion. Otherwise a read."""
        puts.pop(doomed or b"", None)
        ops = [RequestOp(request_put=PutRequest(key=key, value=value)) for key, value in puts.items()]
        ops.append(RequestOp(request_range=RangeRequest(key=read)))
        if doomed is not None:
            nested = TxnRequest(success=[RequestOp(request_delete_range=DeleteRangeRequest(key=doomed))])
            ops.append(RequestOp(request_txn=nested))
        request = TxnRequest(
            compare=[Compare(key=guard, target=Compare.VERSION, result=Compare.EQUAL, version=wanted)],
            success=ops,
            failure=[RequestOp(request_range=RangeRequest(key=read))],
        )
        result = self.do(commands.encode(commands.TXN, request))
        assert isinstance(result, TxnResponse)
        held = self.model.now.get(guard)
        assert result.succeeded == ((held.version if held else 0) == wanted)
        after = dict(self.model.now)
        if result.succeeded:
            for key, value in puts.items():
                self.model.put(after, key, value, 0)
        seen = after.get(read)
        answer = result.responses[len(puts) if result.succeeded else 0].response_range
        assert [pair_of(pair) for pair in answer.kvs] == ([seen] if seen else [])
        gone = self.model.delete(after, doomed, b"") if result.succeeded and doomed is not None else []
        self.model.commit(after, bool(result.succeeded and (puts or gone)))
        assert result.header.revision == self.model.revision

    @rule(lease=LEASES)
    def grant(self, lease: int) -> None:
        result = self.do(commands.encode(commands.LEASE_GRANT, LeaseGrantRequest(ID=lease, TTL=10)))
        assert (result is LEASE_EXISTS) == (lease in self.model.leases)
        self.model.leases.add(lease)

    @rule(lease=LEASES)
    def revoke(self, lease: int) -> None:
        result = self.do(commands.encode(commands.LEASE_REVOKE, LeaseRevokeRequest(ID=lease)))
        assert (result is LEASE_NOT_FOUND) == (lease not in self.model.leases)
        after = {key: pair for key, pair in self.model.now.items() if pair.lease != lease}
        self.model.commit(after, len(after) != len(self.model.now))
        self.model.leases.discard(lease)

    @rule(back=st.integers(-1, 12))
    def compact(self, back: int) -> None:
        revision = self.model.revision - back
        result = self.do(commands.encode(commands.COMPACT, CompactionRequest(revision=revision)))
        if revision <= self.model.compacted:
            assert result is COMPACTED
        elif revision > self.model.revision:
            assert result is FUTURE_REVISION
        else:
            self.model.compacted = revision

    @rule(limit=st.integers(1, 5))
    def reclaim(self, limit: int) -> None:
        self.machine.store.reclaim(limit)

    @rule()
    def restore_from_snapshot(self) -> None:
        reader = SnapshotReader(MemoryEngine())
        for chunk in self.machine.snapshot():
            reader.feed(chunk)
        before = b"".join(self.machine.snapshot())
        self.machine.store, self.machine.members = reader.finish()
        assert b"".join(self.machine.snapshot()) == before

    @rule(
        key=KEYS,
        end=ENDS,
        back=st.none() | st.integers(-1, 15),
        limit=st.integers(0, 4),
        sort_by=st.sampled_from(RangeRequest.SortTarget.values()),
        order=st.sampled_from(RangeRequest.SortOrder.values()),
        keys_only=st.booleans(),
        bounds=st.tuples(*[st.just(0) | st.integers(0, 30)] * 4),
    )
    def read(
        self,
        key: bytes,
        end: bytes,
        back: int | None,
        limit: int,
        sort_by: "RangeRequest.SortTarget.ValueType",
        order: "RangeRequest.SortOrder.ValueType",
        keys_only: bool,
        bounds: tuple[int, int, int, int],
    ) -> None:
        model = self.model
        revision = 0 if back is None else model.revision - back
        request = RangeRequest(
            key=key,
            range_end=end,
            revision=revision,
            limit=limit,
            sort_target=sort_by,
            sort_order=order,
            keys_only=keys_only,
            min_mod_revision=bounds[0],
            max_mod_revision=bounds[1],
            min_create_revision=bounds[2],
            max_create_revision=bounds[3],
        )
        store = self.machine.store
        at = revision if revision > 0 else model.revision
        if at > model.revision or at < model.compacted:
            with pytest.raises(Refused) as caught:
                read_range(store, request, store.revision)
            assert caught.value.refusal is (FUTURE_REVISION if at > model.revision else COMPACTED)
            return
        found = [pair for name, pair in sorted(model.past[at].items()) if in_range(name, key, end)]
        response = read_range(store, request, store.revision)
        assert response.count == len(found)
        request.count_only = True
        assert read_range(store, request, store.revision).count == len(found)
        filtering = any(bounds)
        unordered = order == RangeRequest.NONE or (order == RangeRequest.ASCEND and sort_by == RangeRequest.KEY)
        if limit and unordered and not filtering:
            found = found[: limit + 1]
        found = [
            pair
            for pair in found
            if pair.mod >= bounds[0]
            and (not bounds[1] or pair.mod <= bounds[1])
            and pair.create >= bounds[2]
            and (not bounds[3] or pair.create <= bounds[3])
        ]
        attribute = {0: "key", 1: "version", 2: "create", 3: "mod", 4: "value"}[sort_by]
        if order or sort_by:
            found.sort(key=lambda pair: getattr(pair, attribute), reverse=order == RangeRequest.DESCEND)
        assert response.more == (0 < limit < len(found))
        if limit:
            found = found[:limit]
        if keys_only:
            found = [replace(pair, value=b"") for pair in found]
        assert [pair_of(pair) for pair in response.kvs] == found

    @precondition(lambda self: not self.machine.store.has_garbage)
    @invariant()
    def nothing_superfluous_is_kept(self) -> None:
        compacted = self.machine.store.compact_revision
        kept = sum(1 for _ in self.machine.store.engine.scan())
        needed: set[tuple[bytes, int]] = set()
        for revision in range(max(compacted, 1), self.model.revision + 1):
            needed.update((key, pair.mod) for key, pair in self.model.past[revision].items())
            gone = self.model.past.get(revision - 1, {}).keys() - self.model.past[revision].keys()
            needed.update((key, -revision) for key in gone)
        assert kept >= len(needed)
        # A transaction may write a key twice only by deleting what it put, which this test does not do.
        assert kept == len(needed) or compacted < 0

    @invariant()
    def agrees(self) -> None:
        store = self.machine.store
        assert store.revision == self.model.revision
        assert len(store.live) == len(self.model.now)
        assert {lease.id for lease in store.leases} == self.model.leases
        for lease in store.leases:
            assert sorted(lease.keys) == sorted(key for key, p in self.model.now.items() if p.lease == lease.id)


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
