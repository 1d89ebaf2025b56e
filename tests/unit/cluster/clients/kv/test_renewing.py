"""Renewals on a stream that is made by hand. tests/unit/cluster/clients/kv/test_client.py has them over a real kv."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest

from cluster.clients.kv import renewing
from cluster.clients.kv.renewing import Renewals
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import LeaseKeepAliveRequest, LeaseKeepAliveResponse

if TYPE_CHECKING:
    from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import LeaseAsyncStub

TTL_S = 7


class Member:
    """Answers every renewal, as the stub and as its stream."""

    def __init__(self) -> None:
        self.streams = 0
        self._answers: asyncio.Queue[LeaseKeepAliveResponse] = asyncio.Queue()

    def LeaseKeepAlive(self) -> "Member":
        self.streams += 1
        return self

    async def read(self) -> LeaseKeepAliveResponse:
        return await self._answers.get()

    async def write(self, request: LeaseKeepAliveRequest) -> None:
        self._answers.put_nowait(LeaseKeepAliveResponse(ID=request.ID, TTL=TTL_S))

    def cancel(self) -> None:
        pass


@asynccontextmanager
async def running(member: Member) -> AsyncIterator[tuple[Renewals, list[str]]]:
    left: list[str] = []
    renewals = Renewals(lambda: cast("LeaseAsyncStub", member), lambda: left.append("left"))
    task = asyncio.create_task(renewals.run())
    try:
        yield renewals, left
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_stream_serves_one_renewal_after_another() -> None:
    member = Member()
    async with running(member) as (renewals, left):
        for _ in range(3):
            assert await renewals.renew(1, 5.0) == TTL_S
        assert (member.streams, left, len(renewals)) == (1, [], 0)


async def test_a_renewal_in_the_moment_in_which_an_idle_stream_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewing, "IDLE_S", 0.01)
    member = Member()
    loop = asyncio.get_running_loop()
    async with running(member) as (renewals, left):
        assert await renewals.renew(1, 5.0) == TTL_S
        silence = renewals._silence
        assert silence is not None
        while (ends_s := silence.when()) is None or ends_s > loop.time() + 0.1:
            await asyncio.sleep(0)
            silence = renewals._silence
            assert silence is not None
        renewed: asyncio.Future[asyncio.Future[int]] = loop.create_future()
        # Behind the timer of the stream's end, in the same step of the loop.
        loop.call_at(ends_s + 1e-10, lambda: renewed.set_result(renewals.renew(2, 5.0)))
        async with asyncio.timeout(10):
            assert await (await renewed) == TTL_S
        # The member was not silent, so it is asked again.
        assert (member.streams, left) == (2, [])
