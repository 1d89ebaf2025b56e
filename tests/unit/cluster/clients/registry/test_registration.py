"""An instance stays registered, whatever the registry does meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import grpc
import pytest

from cluster.clients.registry import Condition, Registration, RegistryCalls, Service, Timing
from cluster.pb.orrery.registry.v1.registry_pb2 import CRITICAL, PASSING
from runtime.real import StreamNet, SystemClock, SystemRandomness
from tests.unit.cluster.clients.registry.fake_registry import FakeRegistry, fake_registry

QUICK = Timing(ttl_s=0.3, look_s=0.01, retry_s_min=0.01, retry_s_max=0.05, refused_s=0.05)
SERVICE = Service("kv", "kv-1", "kv-1", "127.0.0.1", 2379, ("a", "b"), {"admin": "127.0.0.1:2381"})


class Process:
    """What is registered, and what it says of itself."""

    def __init__(self, endpoints: Callable[[], Sequence[str]], timing: Timing = QUICK) -> None:
        self.condition = Condition(ok=True)
        self.calls = RegistryCalls(endpoints, net=StreamNet(), random=SystemRandomness(), clock=SystemClock())
        self.registration = Registration(self.calls, SERVICE, lambda: self.condition, SystemRandomness(), timing)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Registration]:
        task = asyncio.create_task(self.registration.run())
        try:
            yield self.registration
            assert not task.done(), "nothing ends it"
        finally:
            task.cancel()
            await asyncio.wait((task,))
            await self.registration.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.002)


def health(fake: FakeRegistry) -> int | None:
    return fake.health("kv-1", "service:kv-1")


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as made:
        yield made


async def test_it_registers_and_reports_on_and_on(fake: FakeRegistry) -> None:
    async with Process(lambda: [fake.address]).running() as registration:
        await until(lambda: len(fake.beats) > 3)
    (instance,) = fake.instances.values()
    assert (instance.service, instance.id, instance.node, instance.address, instance.port) == (
        "kv",
        "kv-1",
        "kv-1",
        "127.0.0.1",
        2379,
    )
    assert (list(instance.tags), dict(instance.metadata)) == (["a", "b"], {"admin": "127.0.0.1:2381"})
    (check,) = instance.checks
    assert (check.id, check.ttl.ttl_ms, check.deregister_critical_after_ms) == ("service:kv-1", 300, 86_400_000)
    assert (fake.registrations, registration.registrations) == (1, 1)
    assert {beat.health for beat in fake.beats} == {PASSING}


async def test_a_change_is_told_at_once_with_its_reason(fake: FakeRegistry) -> None:
    process = Process(lambda: [fake.address], Timing(ttl_s=600, look_s=0.01))
    async with process.running():
        await until(lambda: health(fake) == PASSING)
        process.condition = Condition(ok=False, output="no leader \udc80" + "x" * 10_000)
        await until(lambda: health(fake) == CRITICAL)
        assert fake.beats[-1].output.startswith("no leader ?xxx")
        assert len(fake.beats[-1].output) <= 4096
        process.condition = Condition(ok=True)
        await until(lambda: health(fake) == PASSING)


async def test_what_was_forgotten_is_registered_again(fake: FakeRegistry) -> None:
    async with Process(lambda: [fake.address]).running() as registration:
        await until(lambda: health(fake) == PASSING)
        fake.forget()
        await until(lambda: health(fake) == PASSING)
        assert (len(fake.instances), registration.registrations) == (1, 2)


async def test_it_goes_on_trying_while_the_registry_is_away() -> None:
    fake = fake_registry()
    await fake.start()
    await fake.stop()
    async with Process(lambda: [fake.address]).running() as registration:
        await until(lambda: registration.failures > 2)
        assert not registration.is_registered
        assert registration.info()["failure"]
        await fake.start(int(fake.address.rpartition(":")[2]))
        await until(lambda: health(fake) == PASSING)
        assert registration.info() == {
            "registered": True,
            "registrations": 1,
            "registry": fake.address,
            "failure": "",
        }
    await fake.stop()


async def test_nobody_is_known_at_first(fake: FakeRegistry) -> None:
    known: list[str] = []
    async with Process(lambda: known).running() as registration:
        await until(lambda: registration.info()["failure"] == "no process of the registry is known")
        known.append(fake.address)
        await until(lambda: health(fake) == PASSING)


async def test_it_goes_on_at_another_process(fake: FakeRegistry) -> None:
    # Both know the same, as processes of a registry do.
    other = fake_registry()
    other.instances, other.beats = fake.instances, fake.beats
    async with other:
        process = Process(lambda: [fake.address, other.address])
        async with process.running() as registration:
            await until(lambda: health(fake) == PASSING)
            current, rest = (fake, other) if process.calls.current == fake.address else (other, fake)
            await current.stop()
            fake.beats.clear()
            await until(lambda: process.calls.current == rest.address)
            await until(lambda: health(fake) == PASSING)
            assert registration.registrations == 1


async def test_kv_behind_the_registry_is_away_for_a_while(fake: FakeRegistry) -> None:
    async with Process(lambda: [fake.address]).running() as registration:
        await until(lambda: health(fake) == PASSING)
        fake.kv_is_away = True
        await until(lambda: registration.info()["failure"] == "kv is away")
        fake.kv_is_away = False
        fake.beats.clear()
        await until(lambda: health(fake) == PASSING)
        assert registration.registrations == 1


async def test_a_refusal_is_said_once_and_tried_again(fake: FakeRegistry, caplog: pytest.LogCaptureFixture) -> None:
    fake.refusal = (grpc.StatusCode.ALREADY_EXISTS, "the id belongs to another service")
    async with Process(lambda: [fake.address]).running() as registration:
        await until(lambda: registration.info()["failure"] == "the id belongs to another service")
        await asyncio.sleep(3 * QUICK.refused_s)
        fake.refusal = None
        await until(lambda: health(fake) == PASSING)
    assert caplog.text.count("the id belongs to another service") == 1


async def test_it_is_gone_when_its_process_ends(fake: FakeRegistry) -> None:
    process = Process(lambda: [fake.address])
    assert await process.registration.deregister(1.0), "it never was there"
    async with process.running():
        await until(lambda: health(fake) == PASSING)
    assert await process.registration.deregister(1.0)
    assert not fake.instances
    assert await process.registration.deregister(1.0), "gone is gone"
    await fake.stop()
    assert not await process.registration.deregister(1.0)
    await process.registration.close()


@pytest.mark.parametrize("name", ["ttl_s", "look_s", "retry_s_min", "retry_s_max", "refused_s", "forget_s"])
def test_times_must_pass(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Timing(**{name: 0})
