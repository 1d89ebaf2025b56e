"""What a channel's `unary_unary` and its three siblings return: callables that start calls."""

import logging
from collections.abc import AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio

from cluster.rpc.grpc import framing
from cluster.rpc.grpc.client.call import ClientCall
from cluster.rpc.grpc.client.kinds import (
    StreamStreamCall,
    StreamUnaryCall,
    UnaryStreamCall,
    UnaryUnaryCall,
)
from cluster.rpc.grpc.framing import CallFault
from cluster.rpc.grpc.metadata import MetadataLike, Pairs, as_pairs, write_metadata
from cluster.rpc.http2 import Field, encode_headers
from cluster.rpc.trace_context import CURRENT_TRACE, TRACEPARENT

if TYPE_CHECKING:
    from cluster.rpc.grpc.client.channel import Channel

log = logging.getLogger(__name__)

_pack_prefix = framing.PREFIX.pack

BLOCKS_REMEMBERED_MAX = 64
"""Encoded header blocks that a method keeps."""


def _as_it_is(message: object) -> object:
    return message


def _outgoing(metadata: MetadataLike | None) -> Pairs:
    """The caller's metadata, and the trace of the call that is being served, unless the caller names one."""
    trace = CURRENT_TRACE.get()
    if metadata is None and trace is None:
        return ()
    pairs = as_pairs(metadata)
    if trace is None or any(key == TRACEPARENT for key, _ in pairs):
        return pairs
    return (*pairs, *trace.metadata())


class MethodStub:
    """A method of a channel: its name, its two converters, and header blocks it has sent before."""

    def __init__(
        self,
        channel: "Channel",
        method: str,
        serialize: Callable[[object], bytes] | None,
        deserialize: Callable[[bytes], object] | None,
    ) -> None:
        self.path = method.encode()
        self.serialize = serialize or cast(Callable[[object], bytes], _as_it_is)
        self.deserialize = deserialize or _as_it_is
        self._channel = channel
        self._send_bytes_max = channel.options.send_bytes_max
        self._blocks: dict[tuple[bytes, bytes, Pairs, bytes], bytes] = {}

    def header_block(self, authority: bytes, scheme: bytes, metadata: Pairs, encoding: bytes) -> bytes:
        """The request's header block without its timeout. Raises ValueError for metadata that cannot be sent."""
        key = (authority, scheme, metadata, encoding)
        block = self._blocks.get(key)
        if block is None:
            fields: list[Field] = [
                (b":method", b"POST"),
                (b":scheme", scheme),
                (b":path", self.path),
                (b":authority", authority),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
                (b"user-agent", self._channel.options.user_agent.encode()),
                (b"grpc-accept-encoding", framing.ACCEPTED_ENCODINGS),
            ]
            if encoding is not framing.IDENTITY:
                fields.append((b"grpc-encoding", encoding))
            block = encode_headers(fields + write_metadata(metadata))
            if len(self._blocks) >= BLOCKS_REMEMBERED_MAX:
                self._blocks.clear()
            self._blocks[key] = block
        return block

    def prepare(self, call: ClientCall, compression: grpc.Compression | None) -> None:
        """Sets what does not differ between the kinds of call."""
        chosen = compression if compression is not None else self._channel.compression
        if chosen is not None:
            call.set_encoding(framing.ENCODING_OF[chosen])

    def encode(self, call: ClientCall, request: object) -> bytes:
        """The request as a framed message; ends the call when it cannot be sent."""
        try:
            body = self.serialize(request)
            if call.is_plain and len(body) <= self._send_bytes_max:
                return _pack_prefix(0, len(body)) + body
            return call.frame(body)
        except CallFault as fault:
            call.fail_unsent(fault.code, fault.details)
        except Exception as error:
            log.exception("%s: the request does not serialize", self.path)
            call.fail_unsent(grpc.StatusCode.INTERNAL, f"Failed to serialize request: {error}")
        return b""


class _MultiCallable:
    def __init__(self, channel: "Channel", stub: MethodStub) -> None:
        self._channel = channel
        self._stub = stub


class UnaryUnaryMultiCallable(_MultiCallable, grpc.aio.UnaryUnaryMultiCallable):  # type: ignore[type-arg]
    """Starts unary calls."""

    def __call__(
        self,
        request: object,
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> UnaryUnaryCall:
        """Starts a call: the request goes out with the event loop's next turn."""
        stub = self._stub
        call = UnaryUnaryCall(self._channel, stub, timeout, _outgoing(metadata))
        if compression is not None or self._channel.compression is not None:
            stub.prepare(call, compression)
        call.request = stub.encode(call, request)
        self._channel.submit(call, wait_for_ready=bool(wait_for_ready))
        return call


class UnaryStreamMultiCallable(_MultiCallable, grpc.aio.UnaryStreamMultiCallable):  # type: ignore[type-arg]
    """Starts calls that answer with a stream."""

    def __call__(
        self,
        request: object,
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> UnaryStreamCall:
        """Starts a call: the request goes out with the event loop's next turn."""
        stub = self._stub
        call = UnaryStreamCall(self._channel, stub, timeout, _outgoing(metadata))
        stub.prepare(call, compression)
        call.request = stub.encode(call, request)
        self._channel.submit(call, wait_for_ready=bool(wait_for_ready))
        return call


class StreamUnaryMultiCallable(_MultiCallable, grpc.aio.StreamUnaryMultiCallable):  # type: ignore[type-arg]
    """Starts calls that send a stream."""

    def __call__(
        self,
        request_iterator: AsyncIterable[object] | Iterable[object] | None = None,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamUnaryCall:
        """Starts a call; without an iterator, `write` and `done_writing` send."""
        call = StreamUnaryCall(self._channel, self._stub, timeout, _outgoing(metadata))
        self._stub.prepare(call, compression)
        self._channel.submit(call, wait_for_ready=bool(wait_for_ready))
        call.feed(request_iterator)
        return call


class StreamStreamMultiCallable(_MultiCallable, grpc.aio.StreamStreamMultiCallable):  # type: ignore[type-arg]
    """Starts calls that stream both ways."""

    def __call__(
        self,
        request_iterator: AsyncIterable[object] | Iterable[object] | None = None,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamStreamCall:
        """Starts a call; without an iterator, `write` and `done_writing` send."""
        call = StreamStreamCall(self._channel, self._stub, timeout, _outgoing(metadata))
        self._stub.prepare(call, compression)
        self._channel.submit(call, wait_for_ready=bool(wait_for_ready))
        call.feed(request_iterator)
        return call
