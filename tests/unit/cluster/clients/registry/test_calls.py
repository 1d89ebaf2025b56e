"""Calls go to the process that answered last, and on to the next; how they failed is known."""

from collections.abc import AsyncIterator

import grpc
import pytest

from cluster.clients.registry import RegistryCalls, RegistryRefused, RegistryUnavailable
from cluster.clients.registry.calls import ENDPOINTS_MAX
from cluster.clients.registry.errors import RegistryUnknown
from cluster.pb.orrery.registry.v1.registry_pb2 import Instance, RegisterRequest
from runtime.real import StreamNet, SystemClock, SystemRandomness
from tests.unit.cluster.clients.registry.fake_registry import FakeRegistry, fake_registry

REQUEST = RegisterRequest(instance=Instance(service="kv", id="kv-1", node="kv-1"))


class Client(RegistryCalls):
    """With endpoints that a test changes."""

    def __init__(self) -> None:
        self.endpoints: list[str] = []
        super().__init__(lambda: self.endpoints, net=StreamNet(), random=SystemRandomness(), clock=SystemClock())


@pytest.fixture
async def fakes() -> AsyncIterator[list[FakeRegistry]]:
    made = [fake_registry() for _ in range(3)]
    for fake in made:
        await fake.start()
    yield made
    for fake in made:
        await fake.stop()


@pytest.fixture
async def client(fakes: list[FakeRegistry]) -> AsyncIterator[Client]:
    made = Client()
    made.endpoints = [fake.address for fake in fakes]
    yield made
    await made.close()


async def test_it_stays_where_it_was_answered(client: Client, fakes: list[FakeRegistry]) -> None:
    for _ in range(10):
        await client.register(REQUEST)
    assert sorted(fake.registrations for fake in fakes) == [0, 0, 10]
    (asked,) = (fake for fake in fakes if fake.registrations)
    assert client.current == asked.address
    assert client.failures == 0


async def test_not_everybody_goes_to_the_same(fakes: list[FakeRegistry]) -> None:
    for _ in range(60):
        client = Client()
        client.endpoints = [fake.address for fake in fakes]
        await client.register(REQUEST)
        await client.close()
    # By chance one of them is left out once in ten thousand million runs.
    assert min(fake.registrations for fake in fakes) > 0


async def test_it_goes_on_when_one_is_busy_or_dead(client: Client, fakes: list[FakeRegistry]) -> None:
    await fakes[0].stop()
    fakes[1].refusal = (grpc.StatusCode.UNAVAILABLE, "kv is away")
    for _ in range(5):
        await client.register(REQUEST)
    assert fakes[2].registrations == 5
    assert client.current == fakes[2].address
    assert client.failures <= 2


async def test_when_nobody_answers_it_says_so(client: Client, fakes: list[FakeRegistry]) -> None:
    for fake in fakes:
        fake.refusal = (grpc.StatusCode.UNAVAILABLE, "kv is away")
    with pytest.raises(RegistryUnavailable, match="kv is away") as caught:
        await client.register(REQUEST)
    assert not caught.value.definite, "a server may say so of what it has done"
    assert client.failures == 3
    client.endpoints = []
    with pytest.raises(RegistryUnknown) as unknown:
        await client.register(REQUEST)
    assert unknown.value.definite


async def test_a_refusal_is_not_taken_elsewhere(client: Client, fakes: list[FakeRegistry]) -> None:
    for fake in fakes:
        fake.refusal = (grpc.StatusCode.INVALID_ARGUMENT, "service: is no label of DNS")
    with pytest.raises(RegistryRefused, match="no label") as caught:
        await client.register(REQUEST)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.definite
    assert client.failures == 0


async def test_who_is_no_more_is_not_asked(client: Client, fakes: list[FakeRegistry]) -> None:
    await client.register(REQUEST)
    gone = client.current
    client.endpoints.remove(gone)
    await client.register(REQUEST)
    assert client.current != gone
    assert {fake.registrations for fake in fakes if fake.address == gone} == {1}


async def test_one_call_asks_no_more_than_its_limit(fakes: list[FakeRegistry]) -> None:
    await fakes[0].stop()
    client = Client()
    port = int(fakes[0].address.rpartition(":")[2])
    client.endpoints = [f"127.0.0.{number}:{port}" for number in range(2, 2 + 3 * ENDPOINTS_MAX)]
    with pytest.raises(RegistryUnavailable):
        await client.register(REQUEST)
    assert client.failures == ENDPOINTS_MAX
    await client.close()
