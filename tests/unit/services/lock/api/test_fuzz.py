"""Whatever is asked, each request gets one answer, and the process goes on."""

import asyncio
import random

import pytest

from cluster.pb.orrery.lock.v1.lock_pb2 import (
    Acquire,
    Campaign,
    Exclusive,
    KeepAlive,
    Open,
    Proclaim,
    Release,
    Semaphore,
    SessionRequest,
    SessionResponse,
    Shared,
)
from tests.unit.services.lock.running import Service

NAMES = ["a", "a", "b", "c/d", "", "\0", "x" * 600, "orrery/lock/sessions", "\u200b"]
NUMBERS = [0, 1, 2, 3, (1 << 63) - 1, (1 << 64) - 1]


def any_request(number: int, draw: random.Random) -> SessionRequest:
    request = SessionRequest(id=number)
    name, hold_id = draw.choice(NAMES), draw.choice(NUMBERS)
    match draw.randrange(9):
        case 0:
            request.keep_alive.CopyFrom(KeepAlive())
        case 1 | 2:
            release = Release(name=name, hold_id=hold_id, semaphore=draw.random() < 0.3)
            release.token = draw.choice([0, 0, 1, -1, 1 << 62])
            request.release.CopyFrom(release)
        case 3:
            token = draw.choice([0, 5, -1])
            request.proclaim.CopyFrom(
                Proclaim(name=name, token=token, value=draw.randbytes(draw.choice([0, 9, 70_000])))
            )
        case 4:
            request.open.CopyFrom(Open(ttl_s=draw.choice(NUMBERS[:4])))
        case 5:
            pass
        case _:
            acquire = Acquire(name=name, hold_id=hold_id, wait_ms_max=draw.choice([0, 1, 20, 1 << 63]))
            acquire.hold_ms_max = draw.choice([0, 0, 0, 30, 1 << 63])
            acquire.held_token = draw.choice([0, 0, 0, 7, -7])
            match draw.randrange(5):
                case 0:
                    acquire.exclusive.CopyFrom(Exclusive())
                case 1:
                    acquire.shared.CopyFrom(Shared())
                case 2:
                    limit, permits = draw.choice([0, 1, 3, 1 << 31]), draw.choice([0, 1, 2, 9])
                    acquire.semaphore.CopyFrom(Semaphore(limit=limit, permits=permits))
                case 3:
                    acquire.campaign.CopyFrom(Campaign(value=draw.choice([b"", b"v", b"orrery.lock/1 x"])))
            request.acquire.CopyFrom(acquire)
    return request


@pytest.mark.parametrize("seed", range(3))
async def test_each_request_gets_one_answer(service: Service, seed: int) -> None:
    draw = random.Random(seed)
    streams = [service.stream() for _ in range(3)]
    for stream in streams:
        await stream.open(ttl_s=60)
    answered: list[dict[int, int]] = [{} for _ in streams]
    count = 150

    async def read(index: int) -> None:
        while len(answered[index]) < count:
            response = await streams[index].next()
            assert isinstance(response, SessionResponse)
            if response.id:
                answered[index][response.id] = answered[index].get(response.id, 0) + 1
            else:
                assert response.HasField("lost")

    readers = [asyncio.create_task(read(index)) for index in range(len(streams))]
    for number in range(1, count + 1):
        for stream in streams:
            await stream.call.write(any_request(number, draw))
        if number % 10 == 0:
            await asyncio.sleep(0.005)
    async with asyncio.timeout(30):
        await asyncio.gather(*readers)
    assert all(set(each.values()) == {1} for each in answered)
    for stream in streams:
        stream.call.cancel()
    locks = await service.locks()
    async with locks.hold("after", wait_s=5):
        pass
