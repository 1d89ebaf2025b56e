"""Streaming calls: an endpoint is picked once for each. What went over a stream cannot be said again elsewhere."""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio

from cluster.discovery.channel.subchannel import SubChannel
from cluster.discovery.channel.unary import failed, key_of
from cluster.rpc.grpc.client.interception import InterceptedCall, Writer
from cluster.rpc.grpc.metadata import MetadataLike

if TYPE_CHECKING:
    from cluster.discovery.channel.pool import Pool


class BalancedStream:
    """Starts calls of one method that streams in one way or both; called as grpc.aio's are."""

    def __init__(
        self,
        pool: "Pool",
        kind: str,
        method: str,
        serialize: Callable[[object], bytes] | None,
        deserialize: Callable[[bytes], object] | None,
    ) -> None:
        """`kind` is the channel's method that makes such calls: unary_stream, stream_unary, stream_stream."""
        self._pool = pool
        self._kind = kind
        self._converters = (method, serialize, deserialize)

    def __call__(
        self,
        request: object | AsyncIterable[object] | Iterable[object] | None = None,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
        request_iterator: AsyncIterable[object] | Iterable[object] | None = None,
    ) -> Any:
        """Starts a call; when no endpoint is ready, it makes its way in a task."""
        pool = self._pool
        if request is None:
            request = request_iterator
        key = key_of(metadata) if pool.keeps_keys else None
        target = pool.pick(key)
        if target is not None:
            return self._start(target, request, timeout, metadata, compression)
        writer = Writer() if request is None else None
        task = pool.loop.create_task(
            self._later(writer or request, key, timeout, metadata, compression, wait_for_ready=bool(wait_for_ready)),
            name="balanced-stream",
        )
        # Whoever wants to know reads the call; one that nobody reads has not failed unheard.
        task.add_done_callback(lambda ended: None if ended.cancelled() else ended.exception() and None)
        return InterceptedCall(task, timeout, pool.loop, writer)

    def _start(
        self,
        target: SubChannel,
        request: object,
        timeout: float | None,
        metadata: MetadataLike | None,
        compression: grpc.Compression | None,
    ) -> Any:
        pool = self._pool
        starter = target.starters.get(self)
        if starter is None:
            starter = target.starters[self] = getattr(target.channel, self._kind)(*self._converters)
        pool.begin(target)
        call = starter(request, timeout=timeout, metadata=metadata, compression=compression)
        call.add_done_callback(lambda ended: pool.end(target, _code_of(ended)))
        return call

    async def _later(
        self,
        request: object,
        key: bytes | None,
        timeout: float | None,
        metadata: MetadataLike | None,
        compression: grpc.Compression | None,
        *,
        wait_for_ready: bool,
    ) -> Any:
        pool = self._pool
        deadline_s = None if timeout is None else pool.clock.monotonic_s() + timeout
        found = await pool.acquire(key, wait_for_ready=wait_for_ready, deadline_s=deadline_s)
        if not isinstance(found, SubChannel):
            raise failed(found, pool.describe())
        left_s = None if deadline_s is None else max(0.0, deadline_s - pool.clock.monotonic_s())
        return self._start(found, request, left_s, metadata, compression)


def _code_of(call: "grpc.aio.Call") -> grpc.StatusCode | None:
    """The status of a call that has ended; None when this side gave it up."""
    if call.cancelled():
        return None
    asked = call.code()
    try:
        # It does not wait for anything, since the call has ended: neither engine has another way to ask.
        asked.send(None)
    except StopIteration as answer:
        return cast(grpc.StatusCode, answer.value)
    asked.close()
    return None
