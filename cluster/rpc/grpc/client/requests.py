"""The way in which a call sends a stream of messages."""

import asyncio
import logging
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cluster.rpc.grpc import framing
from cluster.rpc.grpc.client.call import ClientCall
from cluster.rpc.grpc.framing import PREFIX, CallFault
from cluster.rpc.grpc.outbox import Outbox
from cluster.rpc.grpc.status import OK
from cluster.rpc.http2 import ErrorCode, Stream

if TYPE_CHECKING:
    from cluster.rpc.grpc.client.connection import ClientConnection

log = logging.getLogger(__name__)

QUEUE_HIGH_BYTES = 64 * 1024
"""A writer waits while more than this is queued on its stream."""
WRITES_PER_TURN_MAX = 64
"""Messages that a call writes before it lets others run."""


class StreamRequest(ClientCall):
    """A call that sends a stream of messages: from an iterator given with the call, or by `write`."""

    _writes = 0
    _outbox: Outbox | None = None
    _done_writing = False
    _feeder: "asyncio.Task[None] | None" = None

    def feed(self, requests: AsyncIterable[object] | Iterable[object] | None) -> None:
        """Starts to send from an iterator."""
        if requests is not None:
            self._feeder = self._channel.loop.create_task(self._feed(requests))

    async def _feed(self, requests: AsyncIterable[object] | Iterable[object]) -> None:
        try:
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    await self._write(request)
                    if self._ended:
                        return
            else:
                for request in requests:
                    await self._write(request)
                    if self._ended:
                        return
            await self._finish_writing()
        except asyncio.CancelledError:
            if not self._ended:
                self.cancel()
            raise
        except grpc.aio.AioRpcError:
            return  # The call has ended, and says so itself.
        except CallFault as fault:
            self._give_up(fault.code, fault.details, ErrorCode.CANCEL)
        except Exception as error:
            log.exception("%s: the request iterator failed", self._method.path)
            # The caller's iterator failed: the call cannot go on, and its awaiter is told.
            self._cancelled = True
            self._give_up(grpc.StatusCode.CANCELLED, f"the request iterator failed: {error!r}", ErrorCode.CANCEL)

    def _on_ended(self) -> None:
        super()._on_ended()
        if self._feeder is not None and not self._feeder.done() and self._feeder is not asyncio.current_task():
            self._feeder.cancel()

    async def write(self, request: object) -> None:
        """Sends one request; returns when there is room for another.

        Raises UsageError when an iterator was given, AioRpcError once the call has ended, InvalidStateError after
        `done_writing`.
        """
        if self._feeder is not None:
            raise grpc.aio.UsageError("The iterator and read/write APIs may not be mixed on a single RPC.")
        if self._done_writing:
            raise asyncio.InvalidStateError('RPC is half closed after calling "done_writing".')
        if self._ended:
            if self._code is OK:
                raise asyncio.InvalidStateError("RPC already finished.")
            self._raise_status()
        try:
            await self._write(request)
        except asyncio.CancelledError:
            if not self._ended:
                self.cancel()
            raise
        except CallFault as fault:
            self._give_up(fault.code, fault.details, ErrorCode.CANCEL)
            raise self.error() from None
        if self._ended and self._code is not OK:
            self._raise_status()

    def write_now(self, request: object) -> bool:
        """Hands one request to the transport before it returns; False when something stands in its way: use `write`.

        For callers that are about to keep the event loop busy. May stand between the requests of an iterator.
        """
        connection, stream = self._connection, self._stream
        if connection is None or stream is None or self._ended or self._done_writing:
            return False
        if self._encoding is not framing.IDENTITY or not self._writable(connection, stream):
            return False
        body = self._method.serialize(request)
        if len(body) > self._channel.options.send_bytes_max:
            return False
        if self._outbox is not None:
            self._outbox.empty()
        connection.http2.send_data(stream, PREFIX.pack(0, len(body)) + body)
        connection.flush()
        return True

    async def done_writing(self) -> None:
        """Tells the server that no request follows."""
        if self._feeder is not None:
            raise grpc.aio.UsageError("The iterator and read/write APIs may not be mixed on a single RPC.")
        await self._finish_writing()

    async def _write(self, request: object) -> None:
        body = self._method.serialize(request)
        self.check_length(body)
        if self._stream is None:
            await self._attached()
        connection, stream = self._connection, self._stream
        if connection is None or stream is None or self._ended:
            return
        outbox = self._outbox
        if outbox is None:
            outbox = self._outbox = Outbox(connection, stream)
        if self._encoding is framing.IDENTITY:
            outbox.put(0, body)
        else:
            outbox.put(1, framing.compress(body, self._encoding))
        self._writes += 1
        if self._writes < WRITES_PER_TURN_MAX and self._writable(connection, stream):
            return
        self._writes = 0
        connection.flush()
        await asyncio.sleep(0)
        while not self._writable(connection, stream):
            self._drain = self._channel.loop.create_future()
            self._waited = True
            connection.writers[self] = None
            try:
                await self._drain
            finally:
                self._drain = None
                connection.writers.pop(self, None)

    def _writable(self, connection: "ClientConnection", stream: Stream) -> bool:
        return self._ended or not (connection.http2.blocked or stream.queued_bytes > QUEUE_HIGH_BYTES)

    async def _attached(self) -> "tuple[ClientConnection | None, Stream | None]":
        if self._stream is None and not self._ended:
            if self._attach_waiter is None:
                self._attach_waiter = self._channel.loop.create_future()
                self._waited = True
            await asyncio.shield(self._attach_waiter)
        return self._connection, self._stream

    async def _finish_writing(self) -> None:
        if self._done_writing:
            return
        self._done_writing = True
        connection, stream = await self._attached()
        if connection is None or stream is None or self._ended or stream.closed:
            return
        if self._outbox is not None:
            self._outbox.empty(ends=True)
        else:
            connection.http2.send_data(stream, b"", ends=True)
        connection.schedule_flush(0)
