"""Servicers registered here can be called by whoever is in the same process.

    calls = InProcessCalls(interceptors)
    add_KVServicer_to_server(servicer, calls)
    response, context = await calls.unary("/etcdserverpb.KV/Range", Requests([request]))

Messages are handed over as they are, neither serialized nor copied. Interceptors, deadlines, cancellation and errors
are as over a connection: a call that fails raises `grpc.aio.AioRpcError`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import cast

import grpc
import grpc.aio

from cluster.rpc.grpc.metadata import Pairs
from cluster.rpc.grpc.server.method import CallDetails, Handler, Method
from cluster.rpc.in_process.context import InProcessContext

log = logging.getLogger(__name__)

READ_AHEAD_MAX = 16
"""Responses that a servicer may be ahead of the reader of its stream."""


class Requests:
    """Requests that are there already, or are made when they are asked for, as the stream that servicers read."""

    def __init__(self, requests: Iterable[object]) -> None:
        self._requests = iter(requests)

    def __aiter__(self) -> Requests:
        return self

    async def __anext__(self) -> object:
        """The next request."""
        try:
            return next(self._requests)
        except StopIteration:
            raise StopAsyncIteration from None


class InProcessCalls(grpc.aio.Server):
    """Takes what `add_XServicer_to_server` hands a server. It has no ports."""

    def __init__(self, interceptors: Sequence[grpc.aio.ServerInterceptor] = ()) -> None:
        # grpc.aio's own constructor would make a server of the C core.
        self._interceptors = tuple(interceptors)
        self._registered: dict[str, Handler] = {}
        self._generic: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Registers handlers that find methods by name."""
        self._generic.extend(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """Registers a service's methods."""
        for name, handler in method_handlers.items():
            self._registered[f"/{service_name}/{name}"] = handler

    def find(self, path: str, metadata: Pairs = ()) -> Handler | None:
        """The handler of a method, `/package.Service/Method`; None when it is not served here."""
        handler = self._registered.get(path)
        if handler is None:
            for generic in self._generic:
                handler = generic.service(CallDetails(path, metadata))
                if handler is not None:
                    break
        return handler

    async def unary(
        self,
        path: str,
        requests: AsyncIterator[object],
        *,
        metadata: Pairs = (),
        timeout_s: float | None = None,
        peer: str = "in-process",
    ) -> tuple[object, InProcessContext]:
        """Calls a method that answers with one message; returns it and the call's context.

        Raises AioRpcError when the call fails. A method that takes one request takes the first of `requests`.
        """
        loop = asyncio.get_running_loop()
        deadline_s = None if timeout_s is None else loop.time() + timeout_s
        context = InProcessContext(path, metadata, peer=peer, deadline_s=deadline_s, requests=requests, write=None)
        deadline = asyncio.timeout_at(deadline_s)
        response: object = None
        try:
            async with deadline:
                method = await self._method(path, metadata, context)
                response = method.behavior(await _argument(method, requests), context)
                if hasattr(response, "__await__"):
                    response = await cast(Awaitable[object], response)
        except TimeoutError as error:
            if deadline.expired():
                context.fail(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
            else:
                log.exception("%s failed", path)
                _unexpected(context, error)
        except asyncio.CancelledError:
            context.finish(cancelled=True)
            raise
        except grpc.aio.AbortError:
            pass  # `abort` has set the status.
        except Exception as error:
            log.exception("%s failed", path)
            _unexpected(context, error)
        else:
            if not context.has_failed:
                context.finish()
                return response, context
        context.finish()
        raise context.error()

    def stream(
        self,
        path: str,
        requests: AsyncIterator[object],
        *,
        metadata: Pairs = (),
        timeout_s: float | None = None,
        peer: str = "in-process",
    ) -> ResponseStream:
        """Calls a method that answers with a stream; it begins at once, in a task of its own."""
        return ResponseStream(self._method, path, requests, metadata, timeout_s, peer)

    async def _method(self, path: str, metadata: Pairs, context: InProcessContext) -> Method:
        """The method, with the interceptors around it."""

        async def ask(position: int, details: grpc.HandlerCallDetails) -> Handler | None:
            if position == len(self._interceptors):
                return self.find(details.method, metadata)

            async def continuation(onwards: grpc.HandlerCallDetails) -> Handler | None:
                return await ask(position + 1, onwards)

            return await self._interceptors[position].intercept_service(continuation, details)

        handler = await ask(0, CallDetails(path, metadata))
        if handler is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"Method not found: {path}")
        return Method(path, handler)

    # ---- what a server without ports has none of

    def add_insecure_port(self, address: str) -> int:
        """There are no ports."""
        raise NotImplementedError("calls within a process need no port")

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """There are no ports."""
        raise NotImplementedError("calls within a process need no port")

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self, grace: float | None) -> None:
        """Nothing to stop: calls end with those who made them."""

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Nothing to wait for."""
        return False


class ResponseStream:
    """The responses of a call, as they come. Whoever does not read it to its end must `aclose` it."""

    def __init__(
        self,
        find: Callable[[str, Pairs, InProcessContext], Awaitable[Method]],
        path: str,
        requests: AsyncIterator[object],
        metadata: Pairs,
        timeout_s: float | None,
        peer: str,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._find = find
        self._requests = requests
        self._metadata = metadata
        self._ready: deque[object] = deque()
        self._ended = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        deadline_s = None if timeout_s is None else loop.time() + timeout_s
        self.context = InProcessContext(
            path, metadata, peer=peer, deadline_s=deadline_s, requests=requests, write=self._put
        )
        self._task = loop.create_task(self._run(), name=f"in-process {path}")
        self._timer = None if deadline_s is None else loop.call_at(deadline_s, self._expire)

    def __aiter__(self) -> ResponseStream:
        return self

    async def __anext__(self) -> object:
        """The next response. Raises AioRpcError when the call has failed."""
        while not self._ready:
            if self._ended:
                if self.context.has_failed:
                    raise self.context.error()
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        response = self._ready.popleft()
        if len(self._ready) < READ_AHEAD_MAX:
            self._room.set()
        return response

    async def aclose(self) -> None:
        """Ends the call, if it has not ended, and waits until its servicer has."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,))
        self._end(cancelled=True)

    async def _put(self, response: object) -> None:
        while not self._room.is_set():
            await self._room.wait()
        if self._ended:
            raise asyncio.CancelledError
        self._ready.append(response)
        if len(self._ready) >= READ_AHEAD_MAX:
            self._room.clear()
        self._changed.set()

    def _expire(self) -> None:
        self._timer = None
        self.context.fail(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        self._end()
        self._task.cancel()

    def _end(self, *, cancelled: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ended = True
        self._changed.set()
        self.context.finish(cancelled=cancelled)

    async def _run(self) -> None:
        context = self.context
        cancelled = False
        try:
            method = await self._find(context.method_path, self._metadata, context)
            result = method.behavior(await _argument(method, self._requests), context)
            if hasattr(result, "__anext__"):
                responses = cast(AsyncIterator[object], result)
                try:
                    async for response in responses:
                        await self._put(response)
                finally:
                    close = getattr(responses, "aclose", None)
                    if close is not None:
                        await close()
            elif hasattr(result, "__await__"):
                await cast(Awaitable[None], result)  # It wrote by `context.write`.
            else:
                for response in cast(Iterable[object], result):
                    await self._put(response)
        except asyncio.CancelledError:
            # By `aclose`, by the deadline, or by the servicer itself, which a reader must not take for a good end.
            cancelled = True
            if not self._ended and not context.has_failed:
                context.fail(grpc.StatusCode.CANCELLED, "the servicer was cancelled")
        except grpc.aio.AbortError:
            pass  # `abort` has set the status.
        except Exception as error:
            log.exception("%s failed", context.method_path)
            _unexpected(context, error)
        finally:
            self._end(cancelled=cancelled)


async def _argument(method: Method, requests: AsyncIterator[object]) -> object:
    if method.streams_requests:
        return requests
    request = await anext(requests, None)
    if request is None:
        raise ValueError(f"{method.path} takes one request, and got none")
    return request


def _unexpected(context: InProcessContext, error: BaseException) -> None:
    if not context.has_failed:
        context.fail(grpc.StatusCode.UNKNOWN, f"Unexpected {type(error)}: {error}")
