"""Steady traffic from several clients over all members, with the retry rule of etcd's own client.

Each client does one operation at a time, at a fixed rate: puts to keys of their own, and now and then a
linearizable read of a put that was acknowledged earlier. It stays with one member until that member fails it. A put
is tried again only if it was never sent (nothing was connected); everything else that goes wrong is recorded as
`info`, because the put may yet take effect.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import grpc

from cluster.pb.etcd.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from tests.chaos.history import History

PREFIX = "chaos/"
CLIENTS = 8
WRITES_PER_SECOND = 200
READ_EVERY = 10
"""Every so many puts, a client reads one that was acknowledged."""
RPC_SECONDS_MAX = 1.0
"""Deadline of an operation; a paused member is left after so long."""
RECENT_MAX = 1000
"""Acknowledged puts that are remembered for reading."""

NEVER_SENT = ("failed to connect to all addresses", "connections to all backends failing", "connection refused")
"""How grpc says that an operation never left the client, in lower case."""
DEFINITE = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""Answers of a server that has refused for good."""

CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
    # Each client's connections are its own, as those of separate processes are.
    ("grpc.use_local_subchannel_pool", 1),
)


def never_sent(error: grpc.aio.AioRpcError) -> bool:
    """Whether an operation certainly did not reach a server."""
    details = (error.details() or "").lower()
    return error.code() == grpc.StatusCode.UNAVAILABLE and any(text in details for text in NEVER_SENT)


class Client:
    """One client: a connection to each member, one of which it uses."""

    def __init__(self, name: str, addresses: Sequence[str], first: int, load: "Load") -> None:
        self.name = name
        self._channels = [grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) for address in addresses]
        self._stubs = [rpc_pb2_grpc.KVStub(channel) for channel in self._channels]
        self._current = first % len(self._stubs)
        self._load = load
        self._op = 0

    def _next_member(self) -> None:
        self._current = (self._current + 1) % len(self._stubs)

    async def put(self) -> None:
        """One put to a new key, recorded; tried again for as long as it was never sent."""
        self._op += 1
        op, history = self._op, self._load.history
        key, value = f"{PREFIX}{self.name}/{op:08d}", f"{self.name}:{op}"
        history.record(self.name, "invoke", "put", op, key=key, value=value)
        while True:
            try:
                request = rpc_pb2.PutRequest(key=key.encode(), value=value.encode())
                answer = await self._stubs[self._current].Put(request, timeout=RPC_SECONDS_MAX)
            except grpc.aio.AioRpcError as error:
                self._next_member()
                said = f"{error.code().name}: {error.details()}"
                if never_sent(error):
                    if self._load.stopping:
                        history.record(self.name, "fail", "put", op, error=said)
                        return
                    await asyncio.sleep(0.02)
                    continue
                history.record(self.name, "fail" if error.code() in DEFINITE else "info", "put", op, error=said)
                return
            history.record(self.name, "ok", "put", op, revision=answer.header.revision)
            self._load.acknowledged(key)
            return

    async def get(self, key: str) -> None:
        """One linearizable read, recorded."""
        self._op += 1
        op, history = self._op, self._load.history
        history.record(self.name, "invoke", "get", op, key=key)
        try:
            request = rpc_pb2.RangeRequest(key=key.encode())
            answer = await self._stubs[self._current].Range(request, timeout=RPC_SECONDS_MAX)
        except grpc.aio.AioRpcError as error:
            self._next_member()
            history.record(self.name, "fail", "get", op, error=f"{error.code().name}: {error.details()}")
            return
        found = answer.kvs[0] if answer.kvs else None
        history.record(self.name, "ok", "get", op, revision=found.mod_revision if found else 0)

    async def close(self) -> None:
        """Closes the connections."""
        for channel in self._channels:
            await channel.close()


class Load:
    """The clients together. An async context: inside, traffic flows; after it, every operation has its outcome."""

    def __init__(
        self,
        addresses: Sequence[str],
        history: History,
        *,
        clients: int = CLIENTS,
        writes_per_second: float = WRITES_PER_SECOND,
    ) -> None:
        self.history = history
        self.stopping = False
        self._period_s = clients / writes_per_second
        self._recent: deque[str] = deque(maxlen=RECENT_MAX)
        self._acknowledged = 0
        self._times: deque[float] = deque()
        self._clients = [Client(f"client-{i}", addresses, i, self) for i in range(clients)]
        self._tasks: list[asyncio.Task[None]] = []

    def acknowledged(self, key: str) -> None:
        """Notes one acknowledged put."""
        self._acknowledged += 1
        self._recent.append(key)
        now = time.monotonic()
        self._times.append(now)
        while self._times[0] < now - 2:
            self._times.popleft()

    @property
    def count(self) -> int:
        """Acknowledged puts so far."""
        return self._acknowledged

    def rate(self) -> float:
        """Acknowledged puts per second over the last two seconds."""
        now = time.monotonic()
        return sum(moment > now - 2 for moment in self._times) / 2

    async def _drive(self, client: Client, offset_s: float) -> None:
        await asyncio.sleep(offset_s)
        due = time.monotonic()
        number = 0
        while not self.stopping:
            await client.put()
            number += 1
            if number % READ_EVERY == 0 and self._recent:
                await client.get(self._recent[(number * 7919) % len(self._recent)])
            # A client that was held up does not make good for it in a burst: it keeps its rate from now on.
            due = max(due + self._period_s, time.monotonic() - self._period_s)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def wait_for_count(self, count: int, seconds_max: float) -> None:
        """Waits until so many puts are acknowledged in all."""
        await self._until(lambda: self._acknowledged >= count, f"{count} acknowledged puts", seconds_max)

    async def wait_for_rate(self, rate: float, seconds_max: float) -> None:
        """Waits until the rate over the last two seconds is at least this."""
        await self._until(lambda: self.rate() >= rate, f"{rate:g} puts per second", seconds_max)

    async def _until(self, reached: Callable[[], bool], what: str, seconds_max: float) -> None:
        deadline = time.monotonic() + seconds_max
        while not reached():
            for task in self._tasks:
                if task.done():
                    task.result()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"not within {seconds_max:g} s: {what}; {self._acknowledged} puts, {self.rate()}/s now"
                )
            await asyncio.sleep(0.02)

    async def __aenter__(self) -> Self:
        spread = self._period_s / len(self._clients)
        self._tasks = [asyncio.create_task(self._drive(c, i * spread)) for i, c in enumerate(self._clients)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping = True
        try:
            await asyncio.gather(*self._tasks)
        finally:
            for client in self._clients:
                await client.close()
