"""Watching against a model: every event once, in order, whole revisions, whenever and however slowly it is taken.

Method: hypothesis draws writes, compactions, watchers created at any revision, cancellations, snapshots restored into
the machine, and polls; small limits make watchers fall behind. The expected events of a watcher are those of the full
history of changes, from its start on.
"""

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    CompactionRequest,
    DeleteRangeRequest,
    PutRequest,
    RequestOp,
    ResponseHeader,
    TxnRequest,
    WatchCancelRequest,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
)
from cluster.pb.etcd.mvccpb.kv_pb2 import Event
from services.kv import commands
from services.kv.mvcc.leases import Lease
from services.kv.mvcc.snapshots import SnapshotReader
from services.kv.mvcc.store import Change
from services.kv.state_machine import KvStateMachine
from services.kv.watch import hub as hub_module
from services.kv.watch.hub import WatchHub
from services.kv.watch.stream import DUPLICATE_ID, EMPTY_RANGE, WatchStream, _cut
from storage.memory import MemoryEngine

KEYS = st.sampled_from([b"a", b"b", b"b\0", b"c", b"d"])
ENDS = st.one_of(st.just(b""), st.just(b"\0"), KEYS)


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "PENDING_EVENTS_MAX", 3)
    monkeypatch.setattr(hub_module, "CATCH_UP_RECORDS", 2)


class Recorder:
    """All changes that ever were: what a watcher from the beginning should see."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def changed(self, changes: Sequence[Change]) -> None:
        self.changes.extend(changes)

    def lease_granted(self, lease: Lease) -> None: ...

    def lease_ended(self, lease_id: int) -> None: ...

    def lessor_epoch_began(self, epoch: int) -> None: ...

    def restored(self) -> None: ...


class Watched:
    def __init__(self, request: WatchCreateRequest, start: int) -> None:
        self.request = request
        self.start = start
        self.seen: list[tuple[int, bytes, bool]] = []
        self.progress = start - 1
        self.created = False
        self.ended = False

    def wants(self, change: Change) -> bool:
        low, end = self.request.key, self.request.range_end
        inside = change.key == low if not end else change.key >= low and (end == b"\0" or change.key < end)
        unwanted = WatchCreateRequest.NODELETE if change.is_delete else WatchCreateRequest.NOPUT
        return inside and change.revision >= self.start and unwanted not in self.request.filters


class WatchAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.machine = KvStateMachine(MemoryEngine)
        self.recorder = Recorder()
        self.hub = WatchHub(lambda: self.machine.store)
        self.machine.observe(self.recorder)
        self.machine.observe(self.hub)
        self.stream = WatchStream(self.hub, lambda revision: ResponseHeader(revision=revision), fragment_bytes=60)
        self.watched: dict[int, Watched] = {}
        self.index = 0
        self.fragments: dict[int, list[Event]] = {}
        self.values: dict[int, dict[bytes, bytes]] = {1: {}}

    def apply(self, *batch: bytes) -> None:
        before = len(self.recorder.changes)
        self.machine.apply([(self.index + n, command) for n, command in enumerate(batch, 1)])
        self.index += len(batch)
        for change in self.recorder.changes[before:]:
            now = self.values.setdefault(change.revision, dict(self.values[max(self.values)]))
            if change.is_delete:
                del now[change.key]
            else:
                now[change.key] = change.record

    @rule(keys=st.lists(KEYS, min_size=1, max_size=6), batched=st.booleans())
    def put(self, keys: list[bytes], batched: bool) -> None:
        batch = [commands.encode(commands.PUT, PutRequest(key=key, value=b"v")) for key in keys]
        if batched:
            self.apply(*batch)
        else:
            for command in batch:
                self.apply(command)

    @rule(keys=st.sets(KEYS, min_size=2))
    def put_together(self, keys: set[bytes]) -> None:
        ops = [RequestOp(request_put=PutRequest(key=key)) for key in sorted(keys)]
        self.apply(commands.encode(commands.TXN, TxnRequest(success=ops)))

    @rule(key=KEYS, end=ENDS)
    def delete(self, key: bytes, end: bytes) -> None:
        self.apply(commands.encode(commands.DELETE_RANGE, DeleteRangeRequest(key=key, range_end=end)))

    @rule(back=st.integers(0, 8), physically=st.booleans())
    def compact(self, back: int, physically: bool) -> None:
        revision = self.machine.store.revision - back
        self.apply(commands.encode(commands.COMPACT, CompactionRequest(revision=revision)))
        if physically:
            self.machine.store.reclaim(10_000)

    @rule()
    def restore(self) -> None:
        reader = SnapshotReader(MemoryEngine())
        for chunk in self.machine.snapshot():
            reader.feed(chunk)
        self.machine.store, self.machine.members = reader.finish()
        self.hub.restored()

    @rule(
        key=KEYS,
        end=ENDS,
        back=st.none() | st.integers(-3, 12),
        filters=st.sets(st.sampled_from(WatchCreateRequest.FilterType.values())),
        prev=st.booleans(),
        fragment=st.booleans(),
    )
    def create(
        self,
        key: bytes,
        end: bytes,
        back: int | None,
        filters: "set[WatchCreateRequest.FilterType.ValueType]",
        prev: bool,
        fragment: bool,
    ) -> None:
        if len(self.watched) > 6 or (end not in (b"", b"\0") and end <= key):
            return
        revision = self.machine.store.revision
        start = 0 if back is None else max(1, revision - back)
        request = WatchCreateRequest(
            key=key,
            range_end=end,
            start_revision=start,
            filters=sorted(filters),
            prev_kv=prev,
            fragment=fragment,
            watch_id=len(self.watched) + 1,
        )
        self.stream.handle(WatchRequest(create_request=request))
        self.watched[request.watch_id] = Watched(request, start or revision + 1)

    @rule(watch_id=st.integers(1, 6))
    def cancel(self, watch_id: int) -> None:
        watched = self.watched.get(watch_id)
        if watched is not None and not watched.ended:
            self.stream.handle(WatchRequest(cancel_request=WatchCancelRequest(watch_id=watch_id)))

    @rule()
    def request_progress(self) -> None:
        self.stream.handle(WatchRequest(progress_request=WatchProgressRequest()))

    @rule(times=st.integers(1, 3))
    def poll(self, times: int) -> None:
        for _ in range(times):
            for response in self.stream.poll():
                self.take(response)

    def take(self, response: WatchResponse) -> None:
        if response.watch_id == -1:
            for watched in self.watched.values():
                if not watched.ended:
                    self.check_complete(watched, response.header.revision)
            return
        watched = self.watched[response.watch_id]
        assert not watched.ended
        if response.created:
            watched.created = True
            return
        assert watched.created, "events before the watcher was announced"
        if response.canceled:
            watched.ended = True
            if response.compact_revision:
                assert watched.progress + 1 < response.compact_revision == self.machine.store.compact_revision
            return
        for event in response.events:
            change = (event.kv.mod_revision, event.kv.key, event.type == Event.DELETE)
            watched.seen.append(change)
            self.check_previous(watched, event)
        if not response.fragment:
            self.check_complete(watched, response.header.revision)
            watched.progress = response.header.revision

    def check_previous(self, watched: Watched, event: Event) -> None:
        before = self.values[event.kv.mod_revision - 1].get(event.kv.key)
        if not watched.request.prev_kv or before is None:
            assert not event.HasField("prev_kv")
        elif event.HasField("prev_kv"):
            assert event.prev_kv.SerializeToString() == before
        else:
            assert event.kv.mod_revision - 1 < self.machine.store.compact_revision

    def check_complete(self, watched: Watched, revision: int) -> None:
        """A response's revision promises that everything up to it has been delivered."""
        expected = [
            (change.revision, change.key, change.is_delete)
            for change in self.recorder.changes
            if watched.wants(change) and change.revision <= revision
        ]
        assert watched.seen == expected

    def teardown(self) -> None:
        for _ in range(1000):
            responses = self.stream.poll()
            for response in responses:
                self.take(response)
            if not responses and not self.stream._ready:
                break
        for watched in self.watched.values():
            if not watched.ended:
                self.check_complete(watched, self.machine.store.revision)
        self.stream.close()
        assert self.hub.watchers == 0
        assert len(self.hub._by_range) == 0
        assert not self.hub._by_key
        assert not self.hub.on_revision


TestWatchAgainstModel = WatchAgainstModel.TestCase
TestWatchAgainstModel.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


class Setup:
    def __init__(self) -> None:
        self.machine = KvStateMachine(MemoryEngine)
        self.hub = WatchHub(lambda: self.machine.store)
        self.machine.observe(self.hub)
        self.index = 0

    def stream(self) -> WatchStream:
        return WatchStream(self.hub, lambda revision: ResponseHeader(revision=revision), fragment_bytes=1000)

    def put(self, key: bytes, value: bytes = b"") -> None:
        self.index += 1
        self.machine.apply([(self.index, commands.encode(commands.PUT, PutRequest(key=key, value=value)))])


def create(**fields: object) -> WatchRequest:
    return WatchRequest(create_request=WatchCreateRequest(**fields))  # type: ignore[arg-type]


def test_refusals_come_as_created_and_canceled() -> None:
    stream = Setup().stream()
    stream.handle(create(key=b"a", watch_id=5))
    stream.handle(create(key=b"a", watch_id=5))
    stream.handle(create(key=b"b", range_end=b"a"))
    stream.handle(create(key=b"b", start_revision=-1))
    created, *refused = stream.poll()
    assert (created.watch_id, created.created, created.canceled) == (5, True, False)
    assert [(r.watch_id, r.created, r.canceled, r.cancel_reason) for r in refused] == [
        (-1, True, True, DUPLICATE_ID),
        (-1, True, True, EMPTY_RANGE),
        (-1, True, True, "etcdserver: mvcc: required revision has been compacted"),
    ]


def test_ids_are_chosen_around_those_of_the_client() -> None:
    stream = Setup().stream()
    for watch_id in (1, 0, 0, 0):
        stream.handle(create(key=b"a", watch_id=watch_id))
    assert [response.watch_id for response in stream.poll()] == [1, 0, 2, 3]


def test_an_empty_key_is_the_smallest_one() -> None:
    setup = Setup()
    stream = setup.stream()
    stream.handle(create(range_end=b"\0"))
    stream.poll()
    setup.put(b"\0")
    (response,) = stream.poll()
    assert response.events[0].kv.key == b"\0"


def test_progress_waits_for_every_watcher_and_for_the_future() -> None:
    setup = Setup()
    stream = setup.stream()
    for _ in range(10):
        setup.put(b"a")
    stream.handle(create(key=b"a", start_revision=1))
    stream.handle(create(key=b"a", start_revision=13))
    stream.handle(WatchRequest(progress_request=WatchProgressRequest()))
    for _ in range(20):
        assert all(response.watch_id != -1 for response in stream.poll())
    setup.put(b"a")
    setup.put(b"b")
    setup.put(b"c")
    responses = stream.poll()
    assert [response.watch_id for response in responses][-1] == -1
    assert responses[-1].header.revision == 14
    assert not stream.poll()


def test_notifications_of_progress_skip_those_that_had_events() -> None:
    setup = Setup()
    stream = setup.stream()
    stream.handle(create(key=b"a", progress_notify=True))
    stream.handle(create(key=b"b", progress_notify=True))
    stream.handle(create(key=b"c"))
    stream.poll()
    setup.put(b"a")
    stream.poll()
    stream.tick_progress()
    assert [(response.watch_id, len(response.events)) for response in stream.poll()] == [(1, 0)]
    stream.tick_progress()
    assert [response.watch_id for response in stream.poll()] == [0, 1]


def test_one_response_for_a_batch() -> None:
    setup = Setup()
    stream = setup.stream()
    stream.handle(create(key=b"a"))
    stream.poll()
    command = commands.encode(commands.PUT, PutRequest(key=b"a"))
    setup.machine.apply([(1, command), (2, command), (3, command)])
    (response,) = stream.poll()
    assert [event.kv.mod_revision for event in response.events] == [2, 3, 4]


def test_a_slow_stream_costs_bounded_memory() -> None:
    setup = Setup()
    stream = setup.stream()
    stream.handle(create(key=b"a"))
    stream.poll()
    (watcher,) = setup.hub._live
    for number in range(50):
        setup.put(b"a", b"%d" % number)
        assert len(watcher.pending) <= 3
    assert setup.hub.watchers_behind == 1
    values = []
    while responses := stream.poll():
        values += [event.kv.value for response in responses for event in response.events]
    assert values == [b"%d" % number for number in range(50)]
    assert setup.hub.watchers_behind == 0


@pytest.mark.parametrize("sizes", [[10], [100, 1, 1], [40, 40, 40, 40], [1] * 30])
def test_fragments_hold_everything_in_order(sizes: list[int]) -> None:
    events = [bytes([number]) * size for number, size in enumerate(sizes)]
    parts = _cut(events, 60)
    assert [event for part in parts for event in part] == events
    assert all(len(part) == 1 or sum(map(len, part)) < 60 for part in parts)
