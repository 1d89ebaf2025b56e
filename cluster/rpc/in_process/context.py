"""What a servicer knows as its context when it is called from its own process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import NoReturn, cast

import grpc
import grpc.aio

from cluster.rpc.grpc.metadata import MetadataLike, Pairs, as_metadata, as_pairs

log = logging.getLogger(__name__)

OK = grpc.StatusCode.OK


class InProcessContext(grpc.aio.ServicerContext):  # type: ignore[type-arg]  # the runtime class of older grpcio is not generic
    """A `ServicerContext` of grpc.aio without a connection."""

    def __init__(
        self,
        method_path: str,
        metadata: Pairs,
        *,
        peer: str,
        deadline_s: float | None,
        requests: AsyncIterator[object],
        write: Callable[[object], Awaitable[None]] | None,
    ) -> None:
        """`deadline_s` is in the event loop's time. `write` takes the responses of a method that streams them."""
        self.method_path = method_path
        self.initial_metadata: Pairs | None = None
        """None until the servicer sends it."""
        self.trailing: Pairs = ()
        self._metadata = metadata
        self._peer = peer
        self._deadline_s = deadline_s
        self._requests = requests
        self._write = write
        self._code: grpc.StatusCode | None = None
        self._details: str | None = None
        self._finished = False
        self._cancelled = False
        self._callbacks: list[Callable[[InProcessContext], None]] = []

    # ---- from whoever runs the call

    def finish(self, *, cancelled: bool = False) -> None:
        """The call is over: tells those who wanted to know."""
        if self._finished:
            return
        self._finished = True
        self._cancelled = cancelled
        for callback in self._callbacks:
            try:
                callback(self)
            except Exception:
                log.exception("%s: a done callback failed", self.method_path)

    def fail(self, code: grpc.StatusCode, details: str) -> None:
        """Sets the status that the call ends with."""
        self._code = code
        self._details = details

    def error(self) -> grpc.aio.AioRpcError:
        """The call's failure, as a client would get it."""
        code = self._code if self._code is not None and self._code is not OK else grpc.StatusCode.UNKNOWN
        return grpc.aio.AioRpcError(
            code, as_metadata(self.initial_metadata or ()), as_metadata(self.trailing), self._details or ""
        )

    @property
    def has_failed(self) -> bool:
        """Whether a status other than OK has been set."""
        return self._code is not None and self._code is not OK

    # ---- grpc.aio.ServicerContext

    async def read(self) -> object:
        """The next request, or `grpc.aio.EOF`."""
        return await anext(self._requests, grpc.aio.EOF)

    async def write(self, message: object) -> None:
        """Sends one response; returns when there is room for another."""
        if self._write is None:
            raise grpc.aio.UsageError("this method answers with one message, which it returns")
        await self._write(message)

    async def send_initial_metadata(self, initial_metadata: MetadataLike) -> None:
        """Keeps the metadata for whoever called."""
        if self.initial_metadata is not None:
            raise grpc.aio.UsageError("Send initial metadata failed: already sent")
        self.initial_metadata = as_pairs(initial_metadata)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: MetadataLike = ()) -> NoReturn:
        """Ends the call with `code`, and the servicer with AbortError."""
        if code is OK:
            self.fail(grpc.StatusCode.UNKNOWN, "Cannot abort with StatusCode.OK")
            raise grpc.aio.AbortError("Abort with StatusCode.OK is not allowed")
        self.trailing = as_pairs(trailing_metadata) or self.trailing
        self.fail(code, details or self._details or "")
        raise grpc.aio.AbortError("Locally aborted.")

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """Ends the call with `status`."""
        await self.abort(status.code, status.details or "", cast(MetadataLike, status.trailing_metadata or ()))

    def set_trailing_metadata(self, trailing_metadata: MetadataLike) -> None:
        """Metadata to go with the status."""
        self.trailing = as_pairs(trailing_metadata)

    def invocation_metadata(self) -> grpc.aio.Metadata | None:
        """The request's metadata."""
        return cast("grpc.aio.Metadata", self._metadata)

    def set_code(self, code: grpc.StatusCode) -> None:
        """The status to end with when the servicer returns."""
        self._code = code

    def set_details(self, details: str) -> None:
        """The status message to end with when the servicer returns."""
        self._details = details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Nothing is compressed within a process."""

    def disable_next_message_compression(self) -> None:
        """Nothing is compressed within a process."""

    def peer(self) -> str:
        """Who asked, as the caller named it."""
        return self._peer

    def peer_identities(self) -> Iterable[bytes] | None:
        """None: no certificate came with the call."""
        return None

    def peer_identity_key(self) -> str | None:
        """None: no certificate came with the call."""
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Empty."""
        return {}

    def time_remaining(self) -> float:
        """Seconds to the deadline; None, as grpc.aio has it, when there is none."""
        if self._deadline_s is None:
            return cast(float, None)
        return max(0.0, self._deadline_s - asyncio.get_running_loop().time())

    def trailing_metadata(self) -> grpc.aio.Metadata:
        """What `set_trailing_metadata` set."""
        return as_metadata(self.trailing)

    def code(self) -> grpc.StatusCode:
        """The status set; None before."""
        return cast(grpc.StatusCode, self._code)

    def details(self) -> str:
        """The status message set; None before."""
        return cast(str, self._details)

    def cancelled(self) -> bool:
        """Whether the caller gave up."""
        return self._cancelled

    def done(self) -> bool:
        """Whether the call is over."""
        return self._finished

    def add_done_callback(self, callback: "Callable[[InProcessContext], None]") -> None:
        """Calls back once the call is over."""
        if self._finished:
            callback(self)
        else:
            self._callbacks.append(callback)
