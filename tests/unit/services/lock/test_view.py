"""A view against a kv that is played by hand."""

import asyncio
from collections.abc import Callable, Sequence

import grpc

from cluster.clients.kv import KvUnavailable
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import RangeRequest, RangeResponse
from cluster.pb.etcd.mvccpb.kv_pb2 import Event, KeyValue
from services.lock import view as view_module
from services.lock.metrics import Counters
from services.lock.queue import Entry
from services.lock.view import LockView, Views


class FakeWatch:
    def __init__(self, revision: int) -> None:
        self.revision = revision
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeKv:
    """Answers a range with what is set, and hands out watches."""

    def __init__(self) -> None:
        self.pairs: list[KeyValue] = []
        self.revision = 10
        self.ranges = 0
        self.failing = 0
        self.watches: list[FakeWatch] = []

    async def range(self, request: RangeRequest) -> RangeResponse:
        self.ranges += 1
        await asyncio.sleep(0)
        if self.failing:
            self.failing -= 1
            raise KvUnavailable(grpc.StatusCode.UNAVAILABLE, "no", definite=True)
        response = RangeResponse(kvs=self.pairs, count=len(self.pairs))
        response.header.revision = self.revision
        return response

    def watch(self, key: bytes, range_end: bytes, start_revision: int, listener: object) -> FakeWatch:
        self.watches.append(FakeWatch(start_revision))
        return self.watches[-1]


class FakeClaim:
    def __init__(self, number: int) -> None:
        self.key = b"a/%x" % number
        self.create_revision = number
        self.told: list[str] = []

    def on_granted(self, oldest: Entry) -> None:
        self.told.append(f"granted {oldest.create_revision}")

    def on_gone(self) -> None:
        self.told.append("gone")


def pair(number: int, value: bytes = b"") -> KeyValue:
    return KeyValue(key=b"a/%x" % number, value=value, create_revision=number, mod_revision=number, lease=number)


def put(number: int, value: bytes = b"", mod_revision: int = 0) -> Event:
    created = pair(number, value)
    created.mod_revision = mod_revision or number
    return Event(type=Event.PUT, kv=created)


def delete(number: int, revision: int) -> Event:
    return Event(type=Event.DELETE, kv=KeyValue(key=b"a/%x" % number, mod_revision=revision))


def make(kv: FakeKv, on_idle: Callable[[LockView], None] = lambda view: None) -> tuple[LockView, Counters]:
    counters = Counters()
    return LockView("a", kv, counters, on_idle), counters  # type: ignore[arg-type]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def told(view: LockView, events: Sequence[Event], revision: int) -> None:
    view.on_events(events, revision)
    await settle()


async def test_whoever_is_next_is_told_and_nobody_else() -> None:
    kv = FakeKv()
    kv.pairs = [pair(3), pair(4), pair(5)]
    view, counters = make(kv)
    claims = [FakeClaim(number) for number in (4, 5)]
    for claim in claims:
        view.join(claim, is_granted=False)
    await settle()
    assert [claim.told for claim in claims] == [[], []]
    assert (kv.ranges, len(kv.watches), kv.watches[0].revision) == (1, 1, 11)
    assert view.is_contended
    await told(view, [delete(3, 11)], 11)
    assert [claim.told for claim in claims] == [["granted 4"], []]
    assert counters.watch_events == 1
    view.leave(claims[0])
    await told(view, [delete(4, 12)], 12)
    assert [claim.told for claim in claims] == [["granted 4"], ["granted 5"]]


async def test_a_claim_that_is_newer_than_the_view_waits_for_it() -> None:
    kv = FakeKv()
    view, _ = make(kv)
    claim = FakeClaim(12)
    view.join(claim, is_granted=False)
    await settle()
    assert claim.told == []
    await told(view, [put(12)], 12)
    assert claim.told == ["granted 12"]


async def test_a_key_that_is_gone_is_told_once() -> None:
    kv = FakeKv()
    kv.pairs = [pair(3)]
    view, _ = make(kv)
    claim, late = FakeClaim(3), FakeClaim(4)
    view.join(claim, is_granted=True)
    await settle()
    await told(view, [delete(3, 11)], 11)
    await told(view, [delete(3, 11)], 11)
    assert claim.told == ["gone"]
    view.join(late, is_granted=True)  # was removed before the view was asked
    assert late.told == ["gone"]


async def test_a_key_that_was_created_anew_is_not_the_claim() -> None:
    kv = FakeKv()
    kv.pairs = [pair(3)]
    view, _ = make(kv)
    claim = FakeClaim(3)
    view.join(claim, is_granted=True)
    await settle()
    anew = put(3)
    anew.kv.create_revision = anew.kv.mod_revision = 12
    await told(view, [delete(3, 11), anew], 12)
    assert claim.told == ["gone"]


async def test_after_a_gap_the_queue_is_read_anew() -> None:
    kv = FakeKv()
    kv.pairs = [pair(3), pair(4), pair(5)]
    view, _ = make(kv)
    second, third = FakeClaim(4), FakeClaim(5)
    view.join(second, is_granted=False)
    view.join(third, is_granted=False)
    await settle()
    kv.pairs, kv.revision = [pair(5)], 20
    view.on_gap()
    await settle()
    assert second.told == ["gone"]
    assert third.told == ["granted 5"]
    assert kv.watches[-1].revision == 21


async def test_a_kv_that_does_not_answer_is_asked_again() -> None:
    kv = FakeKv()
    kv.failing = 2
    kv.pairs = [pair(3)]
    view, _ = make(kv)
    claim = FakeClaim(3)
    view.join(claim, is_granted=False)
    async with asyncio.timeout(5):
        while not claim.told:
            await asyncio.sleep(0.01)
    assert kv.ranges == 3


async def test_a_view_that_nobody_needs_closes_after_a_while() -> None:
    kv = FakeKv()
    views = Views(kv, Counters())  # type: ignore[arg-type]
    claim = FakeClaim(3)
    kv.pairs = [pair(3)]
    view = views.get("a")
    assert views.get("a") is view
    before, view_module.LINGER_S = view_module.LINGER_S, 0.02
    try:
        view.join(claim, is_granted=True)
        await settle()
        view.leave(claim)
        view.join(claim, is_granted=True)  # comes back in time
        await asyncio.sleep(0.05)
        assert views.find("a") is view
        view.leave(claim)
        await asyncio.sleep(0.05)
    finally:
        view_module.LINGER_S = before
    assert views.find("a") is None
    assert kv.watches[0].cancelled


class Head:
    def __init__(self) -> None:
        self.seen: list[tuple[int, bytes]] = []

    def on_head(self, head: Entry | None, value: bytes) -> None:
        self.seen.append((head.create_revision if head is not None else 0, value))


async def test_observers_hear_of_the_head_alone() -> None:
    kv = FakeKv()
    kv.pairs = [pair(3, b"one"), pair(4, b"two")]
    view, _ = make(kv)
    head = Head()
    view.observe(head)
    await settle()
    await told(view, [put(5, b"three")], 11)
    await told(view, [put(4, b"still two", 12)], 12)
    await told(view, [put(3, b"one more", 13)], 13)
    await told(view, [delete(3, 14)], 14)
    await told(view, [delete(4, 15), delete(5, 15)], 15)
    assert head.seen == [(3, b"one"), (3, b"one more"), (4, b"still two"), (0, b"")]
    view.stop_observing(head)
    view.close()
