"""grpc.aio's client interceptors around our calls.

An intercepted call runs its interceptors in a task, whose result is the call (or the bare response, or an iterator of
responses) that the outermost interceptor returned. Everything asked of the intercepted call goes on to that.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import grpc
import grpc.aio

from cluster.rpc.grpc.client.call import LOCALLY_CANCELLED
from cluster.rpc.grpc.metadata import MetadataLike, as_metadata, as_pairs
from cluster.rpc.grpc.status import OK, CallFailed

if TYPE_CHECKING:
    from cluster.rpc.grpc.client.channel import Channel

# Interceptors are typed by messages that only their authors know; this file hands them on unread.
Anything: TypeAlias = Any

KINDS: tuple[tuple[type[grpc.aio.ClientInterceptor], str], ...] = (
    (grpc.aio.UnaryUnaryClientInterceptor, "intercept_unary_unary"),
    (grpc.aio.UnaryStreamClientInterceptor, "intercept_unary_stream"),
    (grpc.aio.StreamUnaryClientInterceptor, "intercept_stream_unary"),
    (grpc.aio.StreamStreamClientInterceptor, "intercept_stream_stream"),
)
METHOD_OF = dict(KINDS)

_END = object()


def chosen(
    interceptors: Sequence[grpc.aio.ClientInterceptor], kind: type[grpc.aio.ClientInterceptor]
) -> "list[Callable[..., Awaitable[Anything]]]":
    """The hooks of those interceptors that want calls of `kind`, outermost first."""
    return [getattr(each, METHOD_OF[kind]) for each in interceptors if isinstance(each, kind)]


class Intercepted:
    """Starts calls of one method through interceptors. Called as the plain multicallable is."""

    def __init__(
        self, channel: "Channel", path: str, plain: Callable[..., Anything], hooks: Sequence[Callable[..., Anything]]
    ) -> None:
        self._channel = channel
        self._path = path.encode()
        self._plain = plain
        self._hooks = hooks

    def __call__(
        self,
        request: Anything = None,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
        request_iterator: Anything = None,
    ) -> "InterceptedCall":
        """Starts a call."""
        if request is None:
            request = request_iterator
        details = grpc.aio.ClientCallDetails(
            cast(str, self._path),  # grpc.aio hands bytes, whatever its types say
            timeout,
            as_metadata(as_pairs(metadata)),
            credentials,
            wait_for_ready,
        )
        writer = Writer() if request is None else None
        task = self._channel.loop.create_task(self._ask(0, details, writer or request, compression))
        return InterceptedCall(task, timeout, self._channel.loop, writer)

    async def _ask(
        self,
        position: int,
        details: grpc.aio.ClientCallDetails,
        request: Anything,
        compression: grpc.Compression | None,
    ) -> Anything:
        if position == len(self._hooks):
            return self._plain(
                request,
                timeout=details.timeout,
                metadata=details.metadata,
                wait_for_ready=details.wait_for_ready,
                compression=compression,
            )

        async def continuation(onwards: grpc.aio.ClientCallDetails, request: Anything) -> Anything:
            return await self._ask(position + 1, onwards, request, compression)

        return await self._hooks[position](continuation, details, request)


class Writer:
    """Turns `write` and `done_writing` into the iterator that interceptors are given. Holds one request at a time."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[object] = asyncio.Queue(maxsize=1)

    async def put(self, request: object) -> None:
        """Returns when there is room."""
        await self._queue.put(request)

    async def end(self) -> None:
        """No request follows."""
        await self._queue.put(_END)

    async def __aiter__(self) -> AsyncIterator[object]:
        while (request := await self._queue.get()) is not _END:
            yield request


class InterceptedCall:
    """A call whose interceptors may still be running."""

    def __init__(
        self,
        task: "asyncio.Task[Anything]",
        timeout: float | None,
        loop: asyncio.AbstractEventLoop,
        writer: Writer | None,
    ) -> None:
        self._task = task
        self._writer = writer
        self._loop = loop
        self._deadline_s = None if timeout is None else loop.time() + timeout
        self._responses: AsyncIterator[object] | None = None

    def _inner(self) -> Anything:
        """What the interceptors returned, if they have: None when they failed, were cancelled or still run."""
        if not self._task.done() or self._task.cancelled() or self._task.exception() is not None:
            return None
        return self._task.result()

    async def _call(self) -> Anything:
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if not self._task.done():
                self.cancel()
            raise

    def __await__(self) -> Generator[Anything, None, Anything]:
        """The response of a call with one. Raises as the plain call, or whatever an interceptor raised."""
        return self._response().__await__()

    async def _response(self) -> Anything:
        inner = await self._call()
        return await inner if hasattr(inner, "__await__") else inner

    async def __aiter__(self) -> AsyncIterator[object]:
        """The responses of a call with a stream of them."""
        async for response in await self._call():
            yield response

    async def read(self) -> object:
        """The next response, or `grpc.aio.EOF`."""
        inner = await self._call()
        if hasattr(inner, "read"):
            return await inner.read()
        if self._responses is None:
            self._responses = aiter(cast(AsyncIterable[object], inner))
        return await anext(self._responses, grpc.aio.EOF)

    async def write(self, request: object) -> None:
        """Sends one request. Raises UsageError when an iterator was given."""
        await self._needs_writer().put(request)

    async def done_writing(self) -> None:
        """Tells the server that no request follows."""
        await self._needs_writer().end()

    def _needs_writer(self) -> Writer:
        if self._writer is None:
            raise grpc.aio.UsageError("The iterator and read/write APIs may not be mixed on a single RPC.")
        return self._writer

    def cancel(self) -> bool:
        """Gives up the call. Returns whether it was still running."""
        inner = self._inner()
        if inner is not None:
            return bool(inner.cancel()) if hasattr(inner, "cancel") else False
        return self._task.cancel()

    def cancelled(self) -> bool:
        """Whether the call ended as CANCELLED."""
        inner = self._inner()
        return self._task.cancelled() or bool(inner is not None and hasattr(inner, "cancelled") and inner.cancelled())

    def done(self) -> bool:
        """Whether the call has ended."""
        if not self._task.done():
            return False
        inner = self._inner()
        return bool(inner.done()) if hasattr(inner, "done") else True

    def time_remaining(self) -> float | None:
        """Seconds to the deadline, None without one."""
        return None if self._deadline_s is None else max(0.0, self._deadline_s - self._loop.time())

    def add_done_callback(self, callback: "Callable[[InterceptedCall], None]") -> None:
        """Calls back once the call has ended."""

        def started(task: "asyncio.Task[Anything]") -> None:
            inner = self._inner()
            if hasattr(inner, "add_done_callback"):
                inner.add_done_callback(lambda _: callback(self))
            else:
                callback(self)

        self._task.add_done_callback(started)

    async def _status(self, name: str, default: Anything) -> Anything:
        """Asks the call below, or tells how the interceptors ended when there is none."""
        try:
            inner = await self._call()
        except grpc.aio.AioRpcError as error:
            return getattr(error, name)()
        except asyncio.CancelledError:
            if not self._task.cancelled():
                raise
            failed = CallFailed(
                grpc.StatusCode.CANCELLED, as_metadata(()), as_metadata(()), LOCALLY_CANCELLED, definite=False
            )
            return getattr(failed, name)()
        return await getattr(inner, name)() if hasattr(inner, name) else default

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """The response's metadata."""
        return cast(grpc.aio.Metadata, await self._status("initial_metadata", as_metadata(())))

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """The metadata that came with the status."""
        return cast(grpc.aio.Metadata, await self._status("trailing_metadata", as_metadata(())))

    async def code(self) -> grpc.StatusCode:
        """The status."""
        return cast(grpc.StatusCode, await self._status("code", OK))

    async def details(self) -> str:
        """The status message."""
        return cast(str, await self._status("details", ""))

    async def wait_for_connection(self) -> None:
        """Returns once the call has a stream."""
        inner = await self._call()
        if hasattr(inner, "wait_for_connection"):
            await inner.wait_for_connection()
