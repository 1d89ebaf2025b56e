"""Unary calls: one endpoint after another, while the call certainly was not executed.

The usual call is sent to its endpoint at once, and driven by whoever awaits it: no task, no callback. Only a call that
finds no endpoint ready, or that is asked for more than its response before that is there, gets a task of its own.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio

from cluster.discovery.channel.options import HASH_KEY, HASH_KEY_METADATA
from cluster.discovery.channel.subchannel import Starter, SubChannel
from cluster.rpc.grpc.metadata import MetadataLike, Pairs, as_metadata, as_pairs
from cluster.rpc.grpc.status import CallFailed

if TYPE_CHECKING:
    from cluster.discovery.channel.pool import Pool

PREVIOUS_ATTEMPTS = "grpc-previous-rpc-attempts"
"""How often a call was tried before, as servers are told (gRPC proposal A6)."""
OK = grpc.StatusCode.OK
_ELSEWHERE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""Codes after which a call that was not executed may be at another endpoint. CANCELLED is a connection that was closed;
a message that is too long, or a deadline, would be the same everywhere."""
_NOWHERE: tuple[SubChannel, ...] = ()


def key_of(metadata: MetadataLike | None) -> bytes | None:
    """What a call belongs to: its metadata says it, or its context."""
    if metadata is not None:
        for name, value in metadata:
            if name == HASH_KEY_METADATA:
                return value.encode() if isinstance(value, str) else value
    return HASH_KEY.get()


class BalancedUnaryUnary(grpc.aio.UnaryUnaryMultiCallable):  # type: ignore[type-arg]
    """Starts unary calls of one method."""

    def __init__(
        self,
        pool: "Pool",
        method: str,
        serialize: Callable[[object], bytes] | None,
        deserialize: Callable[[bytes], object] | None,
    ) -> None:
        self.pool = pool
        self._converters = (method, serialize, deserialize)

    def __call__(
        self,
        request: object,
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> "BalancedUnaryCall":
        """Starts a call: the request goes out with the event loop's next turn, if an endpoint is ready."""
        pool = self.pool
        pool.budget.called()
        call = BalancedUnaryCall(self, request, timeout, metadata, wait_for_ready, compression)
        target = pool.pick(call.key)
        if target is None:
            call.drive_alone()
        else:
            call.send(target, timeout, metadata)
        return call

    def starter(self, target: SubChannel) -> Starter:
        """What starts calls of this method at one endpoint."""
        starter = target.starters.get(self)
        if starter is None:
            starter = target.starters[self] = target.channel.unary_unary(*self._converters)
        return starter


class BalancedUnaryCall(grpc.aio.UnaryUnaryCall):  # type: ignore[type-arg]
    """One call over all its attempts. Attributes that most calls never set live on the class."""

    _inner: "grpc.aio.UnaryUnaryCall[Any, Any] | None" = None
    """The latest attempt."""
    _target: SubChannel | None = None
    """Where it runs; None when nothing does."""
    _tried: tuple[SubChannel, ...] = _NOWHERE
    _is_driven = False
    _is_ended = False
    _is_cancelled = False
    _response: object = None
    _error: grpc.aio.AioRpcError | None = None
    _task: "asyncio.Task[object] | None" = None
    _waiters: "list[asyncio.Future[None]] | None" = None
    _deadline_s: float | None = None
    key: bytes | None = None

    def __init__(
        self,
        method: BalancedUnaryUnary,
        request: object,
        timeout: float | None,
        metadata: MetadataLike | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
    ) -> None:
        self._method = method
        self._pool = pool = method.pool
        self._request = request
        self._metadata = metadata
        self._wait_for_ready = wait_for_ready
        self._compression = compression
        if timeout is not None:
            self._deadline_s = pool.clock.monotonic_s() + timeout
        if pool.keeps_keys:
            self.key = key_of(metadata)

    def send(self, target: SubChannel, timeout_s: float | None, metadata: MetadataLike | None) -> None:
        """Makes an attempt."""
        self._target = target
        self._pool.begin(target)
        starter = target.starters.get(self._method) or self._method.starter(target)
        if self._compression is None:
            self._inner = starter(self._request, timeout=timeout_s, metadata=metadata)
        else:
            self._inner = starter(self._request, timeout=timeout_s, metadata=metadata, compression=self._compression)

    def drive_alone(self) -> None:
        """Goes on in a task, so that the call makes its way even while nobody awaits it."""
        if self._task is None and not self._is_driven and not self._is_ended:
            self._task = self._pool.loop.create_task(self._drive(), name="balanced-call")
            # Whoever wants to know awaits the call; one that nobody asks about has not failed unheard.
            self._task.add_done_callback(lambda task: None if task.cancelled() else task.exception() and None)

    def __del__(self) -> None:
        if self._target is not None:
            # Given up before it was awaited: counted as over.
            self._settle(None)

    # ---- driving

    def __await__(self) -> Generator[Any, None, Any]:
        """The response. Raises AioRpcError, or CancelledError when this side cancelled."""
        if self._is_driven or self._inner is None or self._task is not None or self._is_ended:
            return (yield from self._outcome().__await__())
        # `_drive` for the call whose first attempt is its last, without a coroutine.
        self._is_driven = True
        try:
            response = yield from self._inner.__await__()
        except grpc.aio.AioRpcError as error:
            response = yield from self._after(error).__await__()
        except BaseException:
            self._give_up()
            raise
        target = self._target
        if target is not None:
            self._target = None
            self._pool.end(target, OK)
        self._response = response
        self._is_ended = True
        if self._waiters is not None:
            self._end()
        return response

    async def _drive(self) -> object:
        """All attempts. Raises as the call does."""
        self._is_driven = True
        try:
            if self._inner is None:
                await self._place()
            assert self._inner is not None
            response = await self._inner
        except grpc.aio.AioRpcError as error:
            response = await self._after(error)
        except BaseException:
            self._give_up()
            raise
        self._settle(OK)
        self._response = response
        self._end()
        return response

    async def _after(self, error: grpc.aio.AioRpcError) -> object:
        """Goes on after a failed attempt. Raises AioRpcError when the call has failed for good."""
        pool = self._pool
        try:
            while True:
                target = self._target
                self._settle(error.code())
                if target is None or not self._may_go_on(error):
                    raise error
                self._tried = (*self._tried, target)
                if not pool.budget.take():
                    raise error
                elsewhere = pool.pick(self.key, self._tried)
                if elsewhere is None:
                    # One that is being connected may be it; and when all were asked in vain, any of them may be again,
                    # if the call was promised to wait, or there was only one to ask.
                    anew = self._wait_for_ready or len(self._tried) >= len(pool.targets)
                    found = await pool.acquire(
                        self.key,
                        wait_for_ready=bool(self._wait_for_ready),
                        deadline_s=self._deadline_s,
                        tried=_NOWHERE if anew else self._tried,
                    )
                    elsewhere = found if isinstance(found, SubChannel) else None
                    if self._is_cancelled:
                        raise asyncio.CancelledError
                if elsewhere is None:
                    raise error
                pool.retries += 1
                self.send(elsewhere, self._left_s(), self._again())
                try:
                    assert self._inner is not None
                    return await self._inner
                except grpc.aio.AioRpcError as next_error:
                    error = next_error
        except grpc.aio.AioRpcError as last:
            self._error = last
            self._end()
            raise
        except BaseException:
            self._give_up()
            raise

    async def _place(self) -> None:
        """Waits for an endpoint, and sends. Raises AioRpcError when there is none."""
        found = await self._pool.acquire(
            self.key, wait_for_ready=bool(self._wait_for_ready), deadline_s=self._deadline_s
        )
        if isinstance(found, SubChannel):
            self.send(found, self._left_s(), self._metadata)
            return
        raise failed(found, self._pool.describe())

    def _may_go_on(self, error: grpc.aio.AioRpcError) -> bool:
        if self._is_cancelled or not getattr(error, "definite", False) or error.code() not in _ELSEWHERE:
            return False
        if len(self._tried) + 1 >= self._pool.options.attempts_max or self._pool.is_closed:
            return False
        left_s = self._left_s()
        return left_s is None or left_s > 0.0

    def _again(self) -> Pairs:
        return (*as_pairs(self._metadata), (PREVIOUS_ATTEMPTS, str(len(self._tried))))

    def _left_s(self) -> float | None:
        return None if self._deadline_s is None else max(0.0, self._deadline_s - self._pool.clock.monotonic_s())

    def _settle(self, code: grpc.StatusCode | None) -> None:
        """Tells the pool how an attempt ended, once."""
        target = self._target
        if target is not None:
            self._target = None
            self._pool.end(target, code)

    def _give_up(self) -> None:
        """Whoever drove the call was cancelled, and the call with it."""
        self._is_cancelled = True
        self._settle(None)
        self._end()

    def _end(self) -> None:
        self._is_ended = True
        if self._waiters is not None:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def _outcome(self) -> object:
        """The response of a call that somebody else drives, or did. Raises as the call does."""
        self.drive_alone()
        try:
            await self._until_ended()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self._error is not None:
            raise self._error
        if self._is_cancelled or (self._task is not None and self._task.cancelled()):
            raise asyncio.CancelledError
        return self._response

    async def _until_ended(self) -> None:
        if self._is_ended:
            return
        self.drive_alone()
        waiter: asyncio.Future[None] = self._pool.loop.create_future()
        self._waiters = [*(self._waiters or ()), waiter]
        await waiter

    # ---- grpc.aio.Call

    def cancel(self) -> bool:
        """Gives up the call. Returns whether it was still running."""
        if self._is_ended or self._is_cancelled:
            return False
        self._is_cancelled = True
        if self._inner is not None:
            self._inner.cancel()
        if self._task is not None:
            self._task.cancel()
        if not self._is_driven:
            # A task that has not begun yet never will.
            self._give_up()
        return True

    def cancelled(self) -> bool:
        """Whether the call was cancelled here, or ended as CANCELLED."""
        return self._is_cancelled or (self._error is not None and self._error.code() is grpc.StatusCode.CANCELLED)

    def done(self) -> bool:
        """Whether the call has ended."""
        return self._is_ended

    def time_remaining(self) -> float | None:
        """Seconds to the deadline, None without one."""
        return self._left_s()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Calls back once the call has ended."""
        if self._is_ended:
            callback(self)
            return
        self.drive_alone()
        waiter: asyncio.Future[None] = self._pool.loop.create_future()
        waiter.add_done_callback(lambda _: callback(self))
        self._waiters = [*(self._waiters or ()), waiter]

    async def _status(self, name: str, unsent: Any) -> Any:
        """Asks the last attempt, once the call has ended."""
        await self._until_ended()
        if self._error is not None:
            return getattr(self._error, name)()
        if self._inner is None or self._is_cancelled:
            return unsent
        return await getattr(self._inner, name)()

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """The response's metadata; told with the response, since an earlier attempt's would be of no use."""
        return cast(grpc.aio.Metadata, await self._status("initial_metadata", as_metadata(())))

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """The metadata that came with the status."""
        return cast(grpc.aio.Metadata, await self._status("trailing_metadata", as_metadata(())))

    async def code(self) -> grpc.StatusCode:
        """The status."""
        return cast(grpc.StatusCode, await self._status("code", grpc.StatusCode.CANCELLED))

    async def details(self) -> str:
        """The status message."""
        return cast(str, await self._status("details", "Locally cancelled by application!"))

    async def debug_error_string(self) -> str:
        """The status and its message in one line."""
        return f"{(await self.code()).name}: {await self.details()}"

    async def wait_for_connection(self) -> None:
        """Returns once an endpoint was found and connected to. Raises AioRpcError when the call ended before."""
        if self._inner is None:
            await self._until_ended()
        elif not self._is_ended:
            await self._inner.wait_for_connection()
        if self._error is not None:
            raise self._error


def failed(code: grpc.StatusCode, details: str) -> CallFailed:
    """A call that was never sent anywhere."""
    return CallFailed(code, as_metadata(()), as_metadata(()), details, definite=True)
