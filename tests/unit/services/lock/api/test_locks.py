"""Sessions by hand: what a client of another language would see."""

import asyncio

import grpc
import grpc.aio
import pytest

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    DeleteRangeRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
)
from cluster.pb.orrery.lock.v1.lock_pb2 import (
    LOSS_REASON_FORCED,
    LOSS_REASON_HELD_TOO_LONG,
    LOSS_REASON_KEY_REMOVED,
    LOSS_REASON_SESSION_EXPIRED,
    Acquire,
    Campaign,
    Close,
    Exclusive,
    ForceReleaseRequest,
    InspectRequest,
    KeepAlive,
    ListForcedReleasesRequest,
    ListRequest,
    Open,
    Proclaim,
    Release,
    Semaphore,
    SessionRequest,
    SessionResponse,
    Shared,
)
from cluster.pb.orrery.lock.v1.lock_pb2_grpc import LocksStub
from tests.unit.services.lock.running import Service, Stream, until

DEADLINE_EXCEEDED = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
NOT_FOUND = grpc.StatusCode.NOT_FOUND.value[0]
ALREADY_EXISTS = grpc.StatusCode.ALREADY_EXISTS.value[0]
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION.value[0]
RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT.value[0]
ABORTED = grpc.StatusCode.ABORTED.value[0]
CANCELLED = grpc.StatusCode.CANCELLED.value[0]


def exclusive(name: str, hold_id: int = 1, **fields: object) -> Acquire:
    return Acquire(name=name, hold_id=hold_id, exclusive=Exclusive(), **fields)  # type: ignore[arg-type]


def shared(name: str, hold_id: int = 1, **fields: object) -> Acquire:
    return Acquire(name=name, hold_id=hold_id, shared=Shared(), **fields)  # type: ignore[arg-type]


def semaphore(name: str, limit: int, hold_id: int = 1, permits: int = 1, **fields: object) -> Acquire:
    return Acquire(name=name, hold_id=hold_id, semaphore=Semaphore(limit=limit, permits=permits), **fields)  # type: ignore[arg-type]


async def opened(service: Service, endpoint: str = "", **fields: object) -> tuple[Stream, int]:
    stream = service.stream(endpoint)
    answer = await stream.open(**fields)
    return stream, answer.opened.session_id


async def queue_of(service: Service, name: str) -> list[tuple[str, bool]]:
    response = await LocksStub(service.channel()).Inspect(InspectRequest(name=name))
    return [(place.mode, place.granted) for place in response.queue]


async def until_waiting(service: Service, name: str, places: int) -> None:
    async with asyncio.timeout(10):
        while len(await queue_of(service, name)) != places:
            await asyncio.sleep(0.005)


async def test_grants_go_in_order_with_rising_tokens(service: Service) -> None:
    streams = [(await opened(service))[0] for _ in range(4)]
    first = await streams[0].ask(acquire=exclusive("a"))
    waiting = []
    for number, stream in enumerate(streams[1:], 2):
        waiting.append(await stream.send(acquire=exclusive("a")))
        await until_waiting(service, "a", number)
    tokens = [first.granted.token]
    assert first.granted.oldest_token == first.granted.token
    pair = (await service.kv.kv.Range(RangeRequest(key=first.granted.key))).kvs[0]
    assert pair.create_revision == first.granted.token
    for index, stream in enumerate(streams):
        if index:
            answer = await stream.answer(waiting[index - 1])
            tokens.append(answer.granted.token)
        released = await stream.ask(release=Release(name="a", hold_id=1, token=tokens[-1]))
        assert released.HasField("released")
    assert tokens == sorted(set(tokens))
    assert await queue_of(service, "a") == []


async def test_a_try_leaves_nothing_behind(service: Service) -> None:
    (one, _), (two, _) = await opened(service), await opened(service)
    await one.ask(acquire=exclusive("a"))
    before = (await service.kv.kv.Range(RangeRequest(key=b"a"))).header.revision
    for request in (
        exclusive("a", wait_ms_max=0),
        shared("a", wait_ms_max=0),
        semaphore("a", 2, wait_ms_max=0),
        Acquire(name="a", hold_id=1, campaign=Campaign(), wait_ms_max=0),
    ):
        assert (await two.ask(acquire=request)).refused.code == DEADLINE_EXCEEDED
    assert (await service.kv.kv.Range(RangeRequest(key=b"a"))).header.revision == before
    assert (await two.ask(acquire=exclusive("b", wait_ms_max=0))).HasField("granted")
    assert (await two.ask(acquire=shared("c", wait_ms_max=0))).HasField("granted")
    assert (await one.ask(acquire=shared("c", wait_ms_max=0))).HasField("granted")


async def test_who_waited_long_enough_stands_in_the_queue_no_more(service: Service) -> None:
    (one, _), (two, _), (three, _) = [await opened(service) for _ in range(3)]
    await one.ask(acquire=exclusive("a"))
    late = await two.send(acquire=exclusive("a", wait_ms_max=80))
    await until_waiting(service, "a", 2)
    third = await three.send(acquire=exclusive("a"))
    assert (await two.answer(late)).refused.code == DEADLINE_EXCEEDED
    await one.ask(release=Release(name="a", hold_id=1))
    assert (await three.answer(third)).HasField("granted")


async def test_readers_together_writers_alone(service: Service) -> None:
    streams = [(await opened(service))[0] for _ in range(4)]
    one = await streams[0].ask(acquire=shared("a"))
    two = await streams[1].ask(acquire=shared("a"))
    assert two.granted.token > one.granted.token == two.granted.oldest_token
    writer = await streams[2].send(acquire=exclusive("a"))
    await until_waiting(service, "a", 3)
    reader = await streams[3].send(acquire=shared("a"))
    await until_waiting(service, "a", 4)
    assert await queue_of(service, "a") == [
        ("shared", True),
        ("shared", True),
        ("exclusive", False),
        ("shared", False),
    ]
    await streams[0].ask(release=Release(name="a", hold_id=1))
    await streams[1].ask(release=Release(name="a", hold_id=1))
    assert (await streams[2].answer(writer)).HasField("granted")
    await streams[2].ask(release=Release(name="a", hold_id=1))
    assert (await streams[3].answer(reader)).HasField("granted")


async def test_a_semaphore_has_as_many_permits_as_it_says(service: Service) -> None:
    stream, _ = await opened(service)
    other, _ = await opened(service)
    first = await stream.ask(acquire=semaphore("a", 3, 1, 2))
    second = await other.ask(acquire=semaphore("a", 3, 1))
    assert second.granted.oldest_token == first.granted.token
    third = await stream.send(acquire=semaphore("a", 3, 2))
    await until_waiting(service, "a", 3)
    refused = await other.ask(acquire=semaphore("a", 4, 5))
    assert refused.refused.code == FAILED_PRECONDITION
    assert "another limit" in refused.refused.message
    await other.ask(release=Release(name="a", hold_id=1, semaphore=True))
    assert (await stream.answer(third)).HasField("granted")


async def test_a_lock_is_reentrant_for_its_session(service: Service) -> None:
    (one, _), (two, _) = await opened(service), await opened(service)
    outer = await one.ask(acquire=exclusive("a", 1))
    inner = await one.ask(acquire=exclusive("a", 2))
    assert inner.granted.token == outer.granted.token
    waiting = await two.send(acquire=exclusive("a"))
    await until_waiting(service, "a", 2)
    await one.ask(release=Release(name="a", hold_id=1))
    assert await queue_of(service, "a") == [("exclusive", True), ("exclusive", False)]
    await one.ask(release=Release(name="a", hold_id=2))
    assert (await two.answer(waiting)).granted.token > outer.granted.token


async def test_a_lock_cannot_be_turned_into_another_kind(service: Service) -> None:
    one, _ = await opened(service)
    await one.ask(acquire=shared("a", 1))
    assert (await one.ask(acquire=exclusive("a", 2))).refused.code == FAILED_PRECONDITION
    assert (
        await one.ask(acquire=Acquire(name="a", hold_id=3, campaign=Campaign()))
    ).refused.code == FAILED_PRECONDITION


async def test_a_release_while_it_waits_gives_up(service: Service) -> None:
    (one, _), (two, _) = await opened(service), await opened(service)
    await one.ask(acquire=exclusive("a"))
    waiting = await two.send(acquire=exclusive("a"))
    await until_waiting(service, "a", 2)
    release = await two.send(release=Release(name="a", hold_id=1))
    answers = {release: await two.answer(release)}
    for answer in two.other:
        answers[answer.id] = answer
    if waiting not in answers:
        answers[waiting] = await two.answer(waiting)
    assert answers[release].HasField("released")
    assert answers[waiting].refused.code == CANCELLED
    assert await queue_of(service, "a") == [("exclusive", True)]


@pytest.mark.parametrize(
    "request_",
    [
        Release(name="a", hold_id=9),
        Release(name="b", hold_id=1),
        Release(name="a", hold_id=1, token=1),
        Release(name="a", hold_id=1, semaphore=True),
    ],
)
async def test_releasing_what_one_does_not_hold(service: Service, request_: Release) -> None:
    one, _ = await opened(service)
    await one.ask(acquire=exclusive("a"))
    assert (await one.ask(release=request_)).refused.code == NOT_FOUND
    assert await queue_of(service, "a") == [("exclusive", True)]


async def test_ids_that_come_twice(service: Service) -> None:
    one, _ = await opened(service)
    blocker, _ = await opened(service)
    await blocker.ask(acquire=exclusive("b"))
    await one.ask(acquire=exclusive("a", 1))
    assert (await one.ask(acquire=exclusive("a", 1))).refused.code == ALREADY_EXISTS
    number = await one.send(acquire=exclusive("b"))
    await until_waiting(service, "b", 2)
    await one.call.write(SessionRequest(id=number, keep_alive=KeepAlive()))
    assert (await one.answer(number)).refused.code == ALREADY_EXISTS
    await one.call.write(SessionRequest(keep_alive=KeepAlive()))
    assert (await one.answer(0)).refused.code == INVALID_ARGUMENT
    assert (await one.ask(open=Open(ttl_s=5))).refused.code == INVALID_ARGUMENT


async def test_too_many_waiters(bare: Service) -> None:
    await bare.start(waiters_max=2)
    streams = [(await opened(bare))[0] for _ in range(3)]
    await streams[0].ask(acquire=exclusive("a"))
    await streams[1].send(acquire=exclusive("a"))
    await until_waiting(bare, "a", 2)
    assert (await streams[2].ask(acquire=exclusive("a"))).refused.code == RESOURCE_EXHAUSTED
    assert len(await queue_of(bare, "a")) == 2


async def test_too_many_sessions(bare: Service) -> None:
    await bare.start(sessions_max=1)
    await opened(bare)
    with pytest.raises(grpc.aio.AioRpcError, match="1 sessions are here") as refused:
        await opened(bare)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"ttl_s": 0}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"ttl_s": 99999}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"session_id": 12345}, grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_sessions_that_cannot_be_opened(service: Service, fields: dict[str, object], code: object) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.stream().open(**fields)
    assert refused.value.code() is code


async def test_the_first_request_must_be_open(service: Service) -> None:
    call = LocksStub(service.channel()).Session()
    await call.write(SessionRequest(id=1, keep_alive=KeepAlive()))
    with pytest.raises(grpc.aio.AioRpcError, match="is open"):
        await call.read()


async def test_a_session_goes_on_at_the_other_process(two: Service) -> None:
    """Neither what is held nor the place in a queue is lost; the token stays."""
    first, session = await opened(two, two.endpoints[0])
    blocker, _ = await opened(two, two.endpoints[1])
    held = (await first.ask(acquire=exclusive("a", 1))).granted
    await first.ask(acquire=exclusive("a", 2))
    await blocker.ask(acquire=exclusive("b"))
    await first.send(acquire=exclusive("b", 3))
    await until_waiting(two, "b", 2)
    first.call.cancel()
    second = two.stream(two.endpoints[1])
    answer = await second.open(session_id=session)
    assert (answer.opened.resumed, answer.opened.session_id, answer.opened.ttl_s) == (True, session, 5)
    again = await second.ask(acquire=exclusive("a", 1, held_token=held.token))
    assert again.granted.token == held.token
    waiting = await second.send(acquire=exclusive("b", 3))
    await blocker.ask(release=Release(name="b", hold_id=1))
    assert (await second.answer(waiting)).HasField("granted")
    # A hold that this stream never heard of is found in kv.
    assert (await second.ask(release=Release(name="a", hold_id=2))).HasField("released")
    assert (await second.ask(release=Release(name="a", hold_id=1, token=held.token))).HasField("released")
    assert await queue_of(two, "a") == []


async def test_a_grant_that_ended_meanwhile_is_not_taken_anew(two: Service) -> None:
    first, session = await opened(two, two.endpoints[0])
    held = (await first.ask(acquire=exclusive("a"))).granted
    first.call.cancel()
    await two.kv.kv.DeleteRange(DeleteRangeRequest(key=held.key))
    second = two.stream(two.endpoints[1])
    await second.open(session_id=session)
    assert (await second.ask(acquire=exclusive("a", held_token=held.token))).refused.code == ABORTED
    assert await queue_of(two, "a") == []


async def test_the_end_of_a_session_releases_all(service: Service) -> None:
    one, session = await opened(service)
    await one.ask(acquire=exclusive("a"))
    await one.ask(acquire=semaphore("b", 2))
    assert (await one.ask(close=Close())).HasField("released")
    assert await one.call.read() is grpc.aio.EOF
    assert await queue_of(service, "a") == await queue_of(service, "b") == []
    left = await service.kv.lease.LeaseTimeToLive(LeaseTimeToLiveRequest(ID=session))
    assert left.TTL == -1


async def test_a_removed_key_is_a_loss_that_is_told_at_once(service: Service) -> None:
    one, _ = await opened(service)
    granted = (await one.ask(acquire=exclusive("a"))).granted
    await service.kv.kv.DeleteRange(DeleteRangeRequest(key=granted.key))
    lost = (await one.next()).lost
    assert (lost.name, lost.hold_id, lost.token, lost.reason) == ("a", 1, granted.token, LOSS_REASON_KEY_REMOVED)
    assert (await one.ask(release=Release(name="a", hold_id=1))).refused.code == NOT_FOUND
    assert (await one.ask(acquire=exclusive("a"))).granted.token > granted.token


async def test_a_revoked_lease_is_the_end_of_the_session(service: Service) -> None:
    one, session = await opened(service)
    token = (await one.ask(acquire=exclusive("a"))).granted.token
    await service.kv.lease.LeaseRevoke(LeaseRevokeRequest(ID=session))
    first, second = await one.next(), await one.next()
    assert (first.lost.token, first.lost.reason) == (token, LOSS_REASON_SESSION_EXPIRED)
    assert second.HasField("session_lost")
    assert await one.call.read() is grpc.aio.EOF


async def test_a_renewal_of_a_lease_that_ended_is_refused(service: Service) -> None:
    one, session = await opened(service)
    assert (await one.ask(keep_alive=KeepAlive())).HasField("kept_alive")
    await service.kv.lease.LeaseRevoke(LeaseRevokeRequest(ID=session))
    assert (await one.ask(keep_alive=KeepAlive())).refused.code == NOT_FOUND
    assert (await one.next()).HasField("session_lost")


async def test_silence_ends_the_session_and_the_lock_delay_keeps_its_locks(service: Service) -> None:
    """The session is over after its TTL; nobody gets its lock before the delay is over, either."""
    one, session = await opened(service, ttl_s=1, lock_delay_s=1)
    two, _ = await opened(service, ttl_s=60)
    assert (await one.ask(acquire=exclusive("a"))).HasField("granted")
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    waiting = await two.send(acquire=exclusive("a"))
    lost = await one.next()
    over_s = loop.time() - started_s
    assert lost.lost.reason == LOSS_REASON_SESSION_EXPIRED
    assert (await one.next()).HasField("session_lost")
    third = service.stream()
    with pytest.raises(grpc.aio.AioRpcError, match="session is over") as refused:
        await third.open(session_id=session)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert (await two.answer(waiting)).HasField("granted")
    assert loop.time() - started_s >= over_s + 0.7


async def test_a_lock_is_taken_away_when_it_was_held_for_too_long(two: Service) -> None:
    one, session = await opened(two, two.endpoints[0])
    other, _ = await opened(two)
    granted = (await one.ask(acquire=exclusive("a", hold_ms_max=300))).granted
    waiting = await other.send(acquire=exclusive("a"))
    one.call.cancel()
    # The limit is written down: another process keeps it, too.
    second = two.stream(two.endpoints[1])
    await second.open(session_id=session)
    assert (await second.ask(acquire=exclusive("a", hold_ms_max=60000, held_token=granted.token))).HasField("granted")
    lost = (await second.next()).lost
    assert (lost.token, lost.reason) == (granted.token, LOSS_REASON_HELD_TOO_LONG)
    assert (await other.answer(waiting)).granted.token > granted.token


async def test_a_forced_release_leaves_a_record_and_tells_the_holder(service: Service) -> None:
    stub = LocksStub(service.channel())
    (one, session), (two, _) = await opened(service, owner="worker 7"), await opened(service)
    token = (await one.ask(acquire=exclusive("a"))).granted.token
    waiting = await two.send(acquire=exclusive("a"))
    await until_waiting(service, "a", 2)
    forced = await stub.ForceRelease(ForceReleaseRequest(name="a", token=token, who="ops", why="it hangs"))
    assert [record.token for record in forced.released] == [token]
    lost = (await one.next()).lost
    assert (lost.reason, lost.detail) == (LOSS_REASON_FORCED, "ops: it hangs")
    assert (await two.answer(waiting)).granted.token > token
    records = (await stub.ListForcedReleases(ListForcedReleasesRequest(name="a"))).records
    record = records[0]
    assert (record.name, record.token, record.session_id, record.owner) == ("a", token, session, "worker 7")
    assert (record.who, record.why) == ("ops", "it hangs")
    assert record.wall_ms > 1_600_000_000_000
    assert not (await stub.ListForcedReleases(ListForcedReleasesRequest(name="b"))).records
    with pytest.raises(grpc.aio.AioRpcError, match="nobody holds") as refused:
        await stub.ForceRelease(ForceReleaseRequest(name="a", token=token, who="ops", why="again"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    for who, why in (("", "x"), ("x", " "), ("a\nb", "x"), ("x", "x" * 1025)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ForceRelease(ForceReleaseRequest(name="a", who=who, why=why))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_inspection_shows_the_queue(service: Service) -> None:
    (one, session), (two, _) = await opened(service, owner="first"), await opened(service)
    await one.ask(acquire=exclusive("a", 1))
    await one.ask(acquire=exclusive("a", 2))
    await two.send(acquire=semaphore("a", 5, permits=2))
    await until_waiting(service, "a", 2)
    first, second = (await LocksStub(service.channel()).Inspect(InspectRequest(name="a"))).queue
    assert (first.session_id, first.mode, first.granted, first.owner, first.holds) == (
        session,
        "exclusive",
        True,
        "first",
        2,
    )
    assert (second.mode, second.waits_for, second.permits, second.limit) == ("semaphore", first.key, 2, 5)
    with pytest.raises(grpc.aio.AioRpcError):
        await LocksStub(service.channel()).Inspect(InspectRequest(name="\0"))


async def test_locks_are_listed_by_pages(service: Service) -> None:
    stub = LocksStub(service.channel())
    one, _ = await opened(service)
    await service.kv.kv.Put(PutRequest(key=b"a/plain", value=b"no lock"))
    await service.kv.kv.Put(PutRequest(key=b"a/7", value=b"no lease"))
    for name in ("a/x", "a/y", "b"):
        await one.ask(acquire=exclusive(name))
    await one.ask(acquire=semaphore("a/z", 3, 1))
    await one.ask(acquire=semaphore("a/z", 3, 2))
    listed = await stub.List(ListRequest(prefix="a/"))
    assert [(lock.name, lock.places) for lock in listed.locks] == [("a/x", 1), ("a/y", 1), ("a/z", 2)]
    found, token = [], b""
    while True:
        page = await stub.List(ListRequest(limit=2, page_token=token))
        found += [lock.name for lock in page.locks]
        token = page.next_page_token
        if not token:
            break
    assert found == ["a/x", "a/y", "a/z", "b"] or found == ["a/x", "a/y", "a/z", "a/z", "b"]
    for bad in (ListRequest(limit=99999), ListRequest(prefix="a", page_token=b"b")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.List(bad)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_foreign_key_excludes_us_and_we_exclude_it(service: Service) -> None:
    """As etcd's recipe writes it: an empty value under `<name>/<lease>`."""
    one, _ = await opened(service)
    await service.kv.kv.Put(PutRequest(key=b"a/1234", value=b""))
    waiting = await one.send(acquire=shared("a"))
    await until_waiting(service, "a", 2)
    assert await queue_of(service, "a") == [("foreign", True), ("shared", False)]
    await service.kv.kv.DeleteRange(DeleteRangeRequest(key=b"a/1234"))
    assert (await one.answer(waiting)).HasField("granted")


async def test_a_client_that_does_not_read_cannot_ask_for_more(service: Service) -> None:
    """Neither side collects without limit; once it reads, everything is answered, once."""
    stream, _ = await opened(service, ttl_s=60)
    asked = 0

    async def flood() -> None:
        nonlocal asked
        while asked < 200_000:
            await stream.call.write(SessionRequest(id=asked + 1, release=Release(name="\0", hold_id=1)))
            asked += 1

    writer = asyncio.create_task(flood())
    before = -1
    async with asyncio.timeout(30):
        while asked != before:
            before = asked
            await asyncio.sleep(0.3)
    assert not writer.done()
    ids: set[int] = set()
    async with asyncio.timeout(30):
        while not set(range(1, before + 1)) <= ids:
            ids.update([(await stream.next()).id for _ in range(100)])
    writer.cancel()


async def test_elections_in_a_session(service: Service) -> None:
    (one, _), (two, _) = await opened(service), await opened(service)
    led = await one.ask(acquire=Acquire(name="e", hold_id=1, campaign=Campaign(value=b"one")))
    assert (await service.kv.kv.Range(RangeRequest(key=led.granted.key))).kvs[0].value == b"one"
    waiting = await two.send(acquire=Acquire(name="e", hold_id=1, campaign=Campaign(value=b"two")))
    await until_waiting(service, "e", 2)
    assert (await one.ask(acquire=Acquire(name="e", hold_id=2, campaign=Campaign()))).refused.code == ALREADY_EXISTS
    proclaim = Proclaim(name="e", token=led.granted.token, value=b"more")
    assert (await one.ask(proclaim=proclaim)).HasField("proclaimed")
    assert (await two.ask(proclaim=proclaim)).refused.code == FAILED_PRECONDITION
    await one.ask(release=Release(name="e", hold_id=1))
    assert (await two.answer(waiting)).granted.token > led.granted.token


async def test_a_stop_asks_clients_to_go_elsewhere(two: Service) -> None:
    one, _ = await opened(two, two.endpoints[0])
    two.stops[0].set("test")
    assert (await one.next()).HasField("draining")
    late = two.stream(two.endpoints[0])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await late.open()
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    one.call.cancel()
    await until(two.tasks[0].done)


async def test_answers_are_messages(service: Service) -> None:
    assert isinstance(await service.stream().open(), SessionResponse)
