"""The client against real processes of the service."""

import asyncio
import ssl
from collections.abc import Callable

import grpc
import pytest

from cluster.clients.lock import Grant, LockLost, LockRefused, Locks, NotGranted
from cluster.discovery import StaticSource, roster
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    DeleteRangeRequest,
    LeaseRevokeRequest,
    PutRequest,
    RequestOp,
    TxnRequest,
)
from cluster.pb.orrery.lock.v1.lock_pb2 import Leadership
from runtime.real import StreamNet, SystemClock, SystemRandomness
from tests.unit.services.lock.running import Service, until


async def until_waiting(locks: Locks, name: str, places: int) -> None:
    async with asyncio.timeout(10):
        while len(await locks.inspect(name)) != places:
            await asyncio.sleep(0.005)


async def test_a_block_holds_the_lock(service: Service) -> None:
    one, two = await service.locks(owner="one"), await service.locks()
    async with one.hold("a") as grant:
        assert grant.is_held
        assert grant.token == grant.oldest_token
        place = (await two.inspect("a"))[0]
        assert (place.owner, place.token, place.key) == ("one", grant.token, grant.key)
        for wait_s in (0, 0.05):
            with pytest.raises(NotGranted):
                async with two.hold("a", wait_s=wait_s):
                    pass
    async with two.hold("a", wait_s=0) as later:
        assert later.token > grant.token


async def test_an_error_in_the_block_releases_and_goes_on(service: Service) -> None:
    one = await service.locks()
    with pytest.raises(ZeroDivisionError):
        async with one.hold("a"):
            raise ZeroDivisionError
    assert await one.inspect("a") == []


async def test_who_gives_up_waiting_does_not_get_it(service: Service) -> None:
    one, two, three = [await service.locks() for _ in range(3)]
    async with one.hold("a"):
        second = asyncio.create_task(two.acquire("a"))
        await until_waiting(one, "a", 2)
        third = asyncio.create_task(three.acquire("a"))
        await until_waiting(one, "a", 3)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
    assert (await third).is_held


async def test_tasks_of_one_client_exclude_each_other_and_a_task_may_enter_twice(service: Service) -> None:
    locks = await service.locks()
    inside = 0

    async def work() -> int:
        nonlocal inside
        async with locks.hold("a") as outer, locks.hold("a") as inner:
            assert inner.token == outer.token
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.01)
            inside -= 1
            return outer.token

    tokens = await asyncio.gather(*(work() for _ in range(5)))
    assert list(tokens) == sorted(set(tokens))
    async with locks.hold("a"):
        blocked = asyncio.create_task(_try(locks, "a"))
        with pytest.raises(NotGranted, match="this client holds it"):
            await blocked


async def _try(locks: Locks, name: str) -> None:
    async with locks.hold(name, wait_s=0):
        pass


async def test_sharing_and_permits(service: Service) -> None:
    one, two = await service.locks(), await service.locks()
    async with one.hold("a", shared=True) as first, two.hold("a", shared=True) as second:
        assert second.token > first.token == second.oldest_token
        with pytest.raises(NotGranted):
            await _try(await service.locks(), "a")
    async with one.permit("s", 2), one.permit("s", 2):
        with pytest.raises(NotGranted):
            async with two.permit("s", 2, wait_s=0):
                pass
    async with two.permit("s", 2, permits=2, wait_s=0):
        pass


async def test_a_lost_grant_cancels_the_block(service: Service) -> None:
    locks, other = await service.locks(), await service.locks()
    grants = []

    async def work() -> None:
        async with locks.hold("a") as grant:
            grants.append(grant)
            await other.force_release("a", who="ops", why="because")
            await asyncio.sleep(30)

    with pytest.raises(LockLost, match="ops: because") as lost:
        await work()
    assert (lost.value.name, lost.value.token) == ("a", grants[0].token)
    assert not grants[0].is_held
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_lost_grant_is_told_at_the_end_of_a_block_that_is_not_cancelled(service: Service) -> None:
    locks, other = await service.locks(), await service.locks()
    reasons = []

    async def work() -> None:
        async with locks.hold("a", cancels=False) as grant:
            await other.force_release("a", who="ops", why="because")
            reasons.append(await grant.wait_lost())

    with pytest.raises(LockLost):
        await work()
    assert reasons == ["ops: because"]


async def test_a_hold_limit(service: Service) -> None:
    locks = await service.locks()
    with pytest.raises(LockLost, match="as long as it may be"):
        async with locks.hold("a", hold_s_max=0.1):
            await asyncio.sleep(30)


async def test_a_fenced_write_is_refused_once_the_grant_is_lost(service: Service) -> None:
    locks = await service.locks()
    grant = await locks.acquire("a")

    async def write(grant: Grant) -> bool:
        put = RequestOp(request_put=PutRequest(key=b"data", value=b"%d" % grant.token))
        return (await service.kv.kv.Txn(TxnRequest(compare=[grant.guard()], success=[put]))).succeeded

    assert await write(grant)
    await service.kv.kv.DeleteRange(DeleteRangeRequest(key=grant.key))
    assert not await write(grant)
    newer = await locks.acquire("a")
    assert newer.key == grant.key
    assert not await write(grant)
    assert await write(newer)


async def test_the_end_of_the_session_loses_all_and_the_next_one_works(service: Service) -> None:
    locks = await service.locks()
    grants = [await locks.acquire(name) for name in ("a", "b")]
    before = locks.session_id
    await service.kv.lease.LeaseRevoke(LeaseRevokeRequest(ID=before))
    for grant in grants:
        async with asyncio.timeout(10):
            assert "session is over" in await grant.wait_lost() or grant.reason
    again = await locks.acquire("a")
    assert again.token > grants[0].token
    assert locks.session_id not in (0, before)


async def test_a_client_moves_when_its_process_stops_and_loses_nothing(two: Service) -> None:
    """Graceful: the process asks for it. Whoever holds goes on holding, whoever waits keeps its place."""
    clients = [await two.locks() for _ in range(6)]
    held = [await client.acquire(f"own-{index}") for index, client in enumerate(clients)]
    first = await clients[0].acquire("hot")
    waiting = []
    for index, client in enumerate(clients[1:], 2):
        waiting.append(asyncio.create_task(client.acquire("hot")))
        await until_waiting(clients[0], "hot", index)
    tokens = [place.token for place in await clients[0].inspect("hot")]
    await two.stop(0)
    two.configs[0] = two.configs[1]
    assert all(grant.is_held for grant in held)
    assert [place.token for place in await clients[0].inspect("hot")] == tokens
    await clients[0].release(first)
    for client, task in zip(clients[1:], waiting, strict=True):
        async with asyncio.timeout(10):
            await client.release(await task)
    assert [(await task).token for task in waiting] == tokens[1:]
    assert not any(grant.reason for grant in held)


async def test_leaders_and_their_observers(service: Service) -> None:
    one, two, watcher = [await service.locks() for _ in range(3)]
    assert await watcher.leader("e") is None
    seen: list[Leadership] = []

    async def observe() -> None:
        async for leadership in watcher.observe("e"):
            seen.append(leadership)  # noqa: PERF401 (told as they come)

    observing = asyncio.create_task(observe())
    await until(lambda: len(seen) == 1)
    assert seen[0].token == 0
    async with one.lead("e", b"one") as led:
        await until(lambda: seen[-1].value == b"one")
        assert seen[-1].token == led.token
        second = asyncio.create_task(_lead(two, "e", b"two"))
        await until_waiting(one, "e", 2)
        await one.proclaim(led, b"still one")
        await until(lambda: seen[-1].value == b"still one")
        leader = await watcher.leader("e")
        assert leader is not None
        assert (leader.token, leader.value, leader.key) == (led.token, b"still one", led.key)
        with pytest.raises(LockRefused):
            await two.proclaim(led, b"usurper")
    await until(lambda: seen[-1].value == b"two")
    assert await second > led.token
    await until(lambda: seen[-1].token == 0)
    tokens = [leadership.token for leadership in seen if leadership.token]
    assert tokens == sorted(tokens)
    observing.cancel()


async def _lead(locks: Locks, name: str, value: bytes) -> int:
    async with locks.lead(name, value) as grant:
        await asyncio.sleep(0.1)
        return grant.token


async def test_what_can_never_work_is_told_at_once(service: Service) -> None:
    locks = await service.locks(ttl_s=0)
    with pytest.raises(LockRefused, match="ttl_s is 0") as refused:
        await locks.acquire("a")
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(LockRefused, match="ttl_s is 0"):
        await locks.acquire("b")
    good = await service.locks()
    with pytest.raises(LockRefused, match="U\\+0000"):
        await good.acquire("\0")
    with pytest.raises(LockRefused):
        async for _ in good.observe(""):
            pass
    with pytest.raises(ValueError, match="no endpoints"):
        Locks([], clock=SystemClock(), random=SystemRandomness(), net=StreamNet())


async def test_an_endpoint_that_is_down_is_passed_over(service: Service) -> None:
    locks = await service.locks("127.0.0.1:1", *service.endpoints)
    async with locks.hold("a", wait_s=5):
        assert len(await locks.inspect("a")) == 1


async def test_a_session_goes_on_at_another_process_when_its_own_leaves_the_set(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "DRAIN_S", 0.2)
    one, other = service.endpoints[0], await service.start()
    source = StaticSource([one])
    async with Locks(source, clock=SystemClock(), random=SystemRandomness(), net=StreamNet()) as locks:
        async with locks.hold("a") as grant:
            session = locks.session_id
            source.replace([other])
            await service.stop(0)
            # Asked on the session's stream, which is at the other process by then.
            async with locks.hold("b", wait_s=10):
                assert locks.session_id == session
            assert grant.is_held
            assert [place.token for place in await locks.inspect("a")] == [grant.token]


async def test_without_any_process_a_session_is_over_by_the_clients_own_clock(service: Service) -> None:
    locks = await service.locks(ttl_s=2)
    grant = await locks.acquire("a")
    await service.stop(0)
    service.configs.clear()
    assert grant.is_held
    async with asyncio.timeout(10):
        assert "not renewed in time" in await grant.wait_lost()
    assert not grant.is_held


class _Gone(StreamNet):
    """A network in which nobody listens, until somebody does."""

    def __init__(self) -> None:
        self.refused = 0
        self.up = asyncio.Event()

    async def connect(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        if not self.up.is_set():
            self.refused += 1
            raise ConnectionRefusedError("nobody listens")
        return await super().connect(protocol_factory, host, port, tls=tls, server_hostname=server_hostname)


async def test_a_process_that_comes_back_is_found_while_somebody_asks(service: Service) -> None:
    net = _Gone()
    async with Locks(service.endpoints, clock=SystemClock(), random=SystemRandomness(), net=net) as locks:
        asking = asyncio.create_task(locks.inspect("a"))
        async with asyncio.timeout(10):
            while net.refused < 2 * len(service.endpoints):
                await asyncio.sleep(0.005)
        assert not asking.done()
        net.up.set()
        assert await asking == []
