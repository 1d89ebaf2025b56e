import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from cluster.clients.kv import KvClient
from cluster.pb.orrery.lock.v1.lock_pb2 import KeepAlive, SessionRequest
from runtime.real import SystemClock
from services.lock.grip import Grip
from services.lock.holding import Context
from services.lock.metrics import Counters
from services.lock.records import SessionRecord
from services.lock.session import Session, Terms
from services.lock.store import Mark, PlaceStore
from services.lock.view import Views


class SlowKv:
    """A kv that takes its time to give a call up."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_end = asyncio.Event()

    async def renew(self, lease: int) -> int:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_end.wait()
        return 0


async def test_a_loss_while_the_stream_ends_harms_nobody() -> None:
    """It is the view of a lock that tells of it, in the middle of the news for all sessions of the process."""
    kv = SlowKv()
    context = Context(
        cast(PlaceStore, None), cast(Views, None), Counters(), SystemClock(), 1, lambda _key, _mark, _hold: None
    )
    session = Session(cast(KvClient, kv), context, Terms(Mark(7, b"s/7", 1), SessionRecord(60, 0, ""), False))

    async def requests() -> AsyncIterator[SessionRequest]:
        yield SessionRequest(id=1, keep_alive=KeepAlive())
        await asyncio.Event().wait()

    running = asyncio.create_task(session.run(requests()))
    await kv.asked.wait()
    running.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not running.done(), "it waits for what began in it"
    told: list[Grip] = []
    grip = Grip("a", b"a/7", 7, None, told.append)
    session._on_gone(grip)
    kv.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    session._on_gone(grip)
