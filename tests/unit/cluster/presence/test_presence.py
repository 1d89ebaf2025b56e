"""A process makes itself known: members on real sockets of the loopback interface, and one that finds nobody."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from cluster.membership.config import MembershipSection
from cluster.membership.core import Status
from cluster.membership.driver import NameTaken
from cluster.presence import Identity, Presence
from runtime.real import StreamNet, SystemClock, SystemRandomness

KEY = base64.b64encode(b"k" * 32).decode()


def presence(
    node: str,
    *seeds: str,
    registry: CollectorRegistry | None = None,
    listen: str = "127.0.0.1:0",
    **settings: object,
) -> Presence:
    quick = {"tick_ms": 10, "probe_interval_ms": 100, "probe_timeout_ms": 50, "gossip_interval_ms": 20}
    section = MembershipSection(listen=listen, seeds=seeds, **(quick | settings))  # type: ignore[arg-type]
    who = Identity.of(node.partition("-")[0], node, "127.0.0.1:2379", "etcd", admin="0.0.0.0:2381")
    return Presence(
        section, who, StreamNet(), SystemClock(), SystemRandomness(), registry or CollectorRegistry(auto_describe=False)
    )


@asynccontextmanager
async def running(*made: Presence) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for one in made:
            stack.push_async_callback(one.stop)
            await one.start()
        yield


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


def address(one: Presence) -> str:
    assert one.membership is not None
    return str(one.membership.address)


def statuses(one: Presence) -> dict[str, Status]:
    assert one.membership is not None
    return {view.name: view.status for view in one.membership.members()}


def test_others_take_its_host_from_where_it_is_reached() -> None:
    who = Identity.of("kv", "kv-1", "[2001:db8::1]:2379", "etcd", admin="0.0.0.0:2381")
    assert who.endpoints == {"etcd": "[2001:db8::1]:2379", "admin": "[2001:db8::1]:2381"}
    with pytest.raises(ValueError, match="host:port"):
        Identity.of("kv", "kv-1", "nowhere", "etcd")


async def test_members_say_what_they_are_and_goodbye() -> None:
    registry = CollectorRegistry(auto_describe=False)
    first = presence("kv-1", registry=registry, keys=(KEY,))
    async with running(first):
        second = presence("lock-1", address(first), keys=(KEY,))
        async with running(second):
            await until(lambda: len(statuses(first)) == 2)
            part = first.parts()["membership"]
            assert isinstance(part, dict)
            assert part["sealed"]
            assert [(member["name"], member["service"], member["endpoints"]) for member in part["members"]] == [
                ("kv-1", "kv", {"etcd": "127.0.0.1:2379", "admin": "127.0.0.1:2381"}),
                ("lock-1", "lock", {"etcd": "127.0.0.1:2379", "admin": "127.0.0.1:2381"}),
            ]
            assert first.membership is not None
            other = first.membership.member("lock-1")
            assert other is not None
            assert other.metadata.labels["node"] == "lock-1"
            assert b'orrery_membership_members{status="alive"} 2.0' in generate_latest(registry)
            await second.leave()
        left = first.membership.member("lock-1")
        assert left is not None
        assert left.status is Status.LEFT


async def test_one_that_finds_nobody_runs_and_finds_them_later() -> None:
    later = presence("kv-1")
    async with running(later):
        where = address(later)
    lone = presence("lock-1", where)
    async with running(lone):
        assert lone.membership is not None
        assert not lone.membership.joined
        task = asyncio.create_task(lone.run())
        back = presence("kv-1", listen=where)
        async with running(back):
            await until(lambda: len(statuses(lone)) == 2)
        assert not task.done()
        task.cancel()


async def test_the_younger_process_of_a_name_ends() -> None:
    first = presence("kv-1")
    async with running(first):
        await asyncio.sleep(0.01)  # their ages are told apart by milliseconds
        second = presence("kv-1", address(first))
        async with running(second), asyncio.timeout(10):
            with pytest.raises(NameTaken, match="kv-1"):
                await second.run()


async def test_it_is_off_where_nothing_is_said_of_it() -> None:
    off = presence("kv-1", listen="")
    async with running(off):
        assert off.membership is None
        assert off.parts() == {}
        await off.run()
        await off.leave()


def test_a_key_file_that_nobody_read_is_refused() -> None:
    with pytest.raises(ValueError, match="keys_file was not read"):
        presence("kv-1", keys_file="/run/orrery/membership.keys")
