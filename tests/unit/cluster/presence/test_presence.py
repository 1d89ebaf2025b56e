"""A process makes itself known: members on real sockets of the loopback interface, and one that finds nobody."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from cluster.membership.config import MembershipSection
from cluster.membership.core import Status
from cluster.membership.driver import NameTaken
from cluster.pb.orrery.registry.v1.registry_pb2 import CRITICAL, PASSING
from cluster.presence import Identity, Presence, RegistrationSection
from cluster.telemetry import Check
from runtime.real import StreamNet, SystemClock, SystemRandomness
from tests.unit.cluster.clients.registry.fake_registry import fake_registry

KEY = base64.b64encode(b"k" * 32).decode()


def presence(
    node: str,
    *seeds: str,
    registry: CollectorRegistry | None = None,
    listen: str = "127.0.0.1:0",
    address: str = "127.0.0.1:2379",
    protocol: str = "etcd",
    checks: Callable[[], Sequence[Check]] | None = None,
    **settings: object,
) -> Presence:
    quick = {"tick_ms": 10, "probe_interval_ms": 100, "probe_timeout_ms": 50, "gossip_interval_ms": 20}
    section = MembershipSection(listen=listen, seeds=seeds, **(quick | settings))  # type: ignore[arg-type]
    who = Identity.of(node.partition("-")[0], node, address, protocol, admin="0.0.0.0:2381")
    return Presence(
        who,
        section,
        RegistrationSection(ttl_ms=1000),
        checks or (lambda: [Check("up", ok=True)]),
        net=StreamNet(),
        clock=SystemClock(),
        random=SystemRandomness(),
        registry=registry or CollectorRegistry(auto_describe=False),
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


def address_of(one: Presence) -> str:
    assert one.membership is not None
    return str(one.membership.address)


def statuses(one: Presence) -> dict[str, Status]:
    assert one.membership is not None
    return {view.name: view.status for view in one.membership.members()}


async def test_members_say_what_they_are_and_goodbye() -> None:
    registry = CollectorRegistry(auto_describe=False)
    first = presence("kv-1", registry=registry, keys=(KEY,))
    async with running(first):
        second = presence("lock-1", address_of(first), keys=(KEY,))
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
        where = address_of(later)
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
        second = presence("kv-1", address_of(first))
        async with running(second), asyncio.timeout(10):
            with pytest.raises(ExceptionGroup) as caught:
                await second.run()
        (taken,) = caught.value.exceptions
        assert isinstance(taken, NameTaken)


async def test_it_is_off_where_nothing_is_said_of_it() -> None:
    off = presence("kv-1", listen="")
    async with running(off):
        assert off.membership is None
        assert off.parts() == {}
        await off.run()
        await off.leave()


async def test_it_finds_the_registry_by_the_membership_and_tells_it_what_is_wrong() -> None:
    failing: list[Check] = []
    async with fake_registry() as fake:
        one = presence("kv-1", checks=lambda: failing)
        async with running(one):
            task = asyncio.create_task(one.run())
            # It comes later than those that look for it, and one of its kind lies about where it is.
            liar = presence("registry-9", address_of(one), address="127.0.0.1:0", protocol="registry")
            registry = presence("registry-1", address_of(one), address=fake.address, protocol="registry")
            async with running(liar, registry):
                await until(lambda: fake.health("kv-1", "service:kv-1") == PASSING)
                (instance,) = fake.instances.values()
                assert (instance.service, instance.id, instance.node) == ("kv", "kv-1", "kv-1")
                assert (instance.address, instance.port) == ("127.0.0.1", 2379)
                assert instance.metadata["admin"] == "127.0.0.1:2381"
                failing.append(Check("leader known", ok=False, detail="no leader is known"))
                await until(lambda: fake.health("kv-1", "service:kv-1") == CRITICAL)
                assert fake.beats[-1].output == "leader known: no leader is known"
                part = one.parts()["registration"]
                assert part == {"registered": True, "registrations": 1, "registry": fake.address, "failure": ""}
                await one.leave()
                assert not fake.instances
                assert task.done() is False  # it ends with the scope of its process
                task.cancel()


def test_a_key_file_that_nobody_read_is_refused() -> None:
    with pytest.raises(ValueError, match="keys_file was not read"):
        presence("kv-1", keys_file="/run/orrery/membership.keys")
