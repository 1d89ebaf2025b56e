"""etcdserverpb.Watch: changes as they happen."""

import asyncio
from collections.abc import AsyncIterator

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import WatchRequest, WatchResponse
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import WatchServicer
from runtime import Randomness
from services.kv.api.calls import Calls, Context, refuse
from services.kv.refusals import NO_LEADER, STOPPED, Refusal, Refused
from services.kv.watch.hub import WatchHub
from services.kv.watch.stream import WatchStream

PROGRESS_JITTER = 0.1
"""Part of the interval by which notifications are spread, so that streams opened together do not stay in step."""
FRAGMENT_OVERHEAD_BYTES = 512 * 1024
"""etcd splits at the largest request it takes plus this."""


class WatchHead(WatchServicer):
    """Serves the Watch service of etcd."""

    def __init__(self, calls: Calls, hub: WatchHub, random: Randomness, *, progress_interval_s: float) -> None:
        self._calls = calls
        self._hub = hub
        self._random = random
        self._progress_interval_s = progress_interval_s
        self._streams: dict[WatchStream, None] = {}

    def stop(self) -> None:
        """Ends all streams: clients come back to another member, and go on where they were."""
        for stream in self._streams:
            stream.end(STOPPED)

    async def Watch(  # noqa: N802, D102
        self, request_iterator: AsyncIterator[WatchRequest], context: Context
    ) -> AsyncIterator[WatchResponse]:
        try:
            required = self._calls.check_leader(context)
        except Refused as refused:
            await refuse(context, refused.refusal)
        stream = WatchStream(
            self._hub,
            self._calls.header,
            fragment_bytes=self._calls.limits.request_bytes_max + FRAGMENT_OVERHEAD_BYTES,
        )
        self._streams[stream] = None
        reader = asyncio.create_task(_read(request_iterator, stream))
        ticker = asyncio.create_task(self._tick(stream))
        forget = self._calls.gate.on_loss(lambda: stream.end(NO_LEADER)) if required else None
        end: Refusal | None = None
        try:
            while end is None:
                await stream.wait()
                for response in stream.poll():
                    yield response
                end = stream.ended
                # A piece may be ready again at once. Others, reading and applying among them, come first.
                await asyncio.sleep(0)
        finally:
            if forget is not None:
                forget()
            del self._streams[stream]
            stream.close()
            reader.cancel()
            ticker.cancel()
            await asyncio.gather(reader, ticker, return_exceptions=True)
        await refuse(context, end)

    async def _tick(self, stream: WatchStream) -> None:
        while True:
            await asyncio.sleep(self._progress_interval_s * (1 + PROGRESS_JITTER * self._random.random()))
            stream.tick_progress()


async def _read(requests: AsyncIterator[WatchRequest], stream: WatchStream) -> None:
    """Feeds the client's requests to the stream. When the client has no more, its watchers go on."""
    async for request in requests:
        await stream.room()
        stream.handle(request)
