"""The receiving half for what carries messages: header blocks and data (RFC 9113 sections 6.1, 6.2, 6.10 and 8.1).

Invariants:
- Every header block goes through the decoder, in order, also those of streams that are refused or closed: the HPACK
  table must follow the peer's.
- Every DATA frame counts against the connection's window, also on streams that are closed.
- Between a header block's first frame and its last there is nothing else.
"""

from cluster.rpc.http2 import frames, validation
from cluster.rpc.http2.control import Control
from cluster.rpc.http2.errors import ErrorCode, RemoteFault, StreamFault
from cluster.rpc.http2.events import DataReceived, HeadersReceived
from cluster.rpc.http2.frames import STREAM_ID_MAX
from cluster.rpc.http2.headers import HeaderBlock, HeaderDecoder, OpenBlock
from cluster.rpc.http2.limits import Limits
from cluster.rpc.http2.stream import Stream

_uint32 = frames.UINT32.unpack_from


class Messages(Control):
    """Takes requests or responses, by the role."""

    def __init__(self, limits: Limits, *, client: bool) -> None:
        super().__init__(limits, client=client)
        self._decoder = HeaderDecoder(limits.header_list_bytes_max, limits.header_cache_bytes_max)
        self._open_block: OpenBlock | None = None
        self.refuse_above = STREAM_ID_MAX
        """After a final GOAWAY of ours: streams above this are ignored."""

    def _on_data(self, buffer: bytes, start: int, stop: int, flags: int, stream_id: int) -> None:
        length = stop - start
        self.receive_window -= length
        if self.receive_window < 0:
            raise RemoteFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
        self._connection_owed += length
        if self._connection_owed >= self._connection_grant:
            self._grant_connection()
        stream = self.streams.get(stream_id)
        if stream is None:
            self._on_closed_stream(stream_id, "DATA")
            return
        if stream.remote_ended:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "DATA after END_STREAM")
        if not stream.remote_headers:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "DATA before HEADERS")
        stream.receive_window -= length
        if stream.receive_window < 0:
            raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "more data than the stream's window")
        if flags & 0x8:
            if start == stop or buffer[start] >= length:
                raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
            data = buffer[start + 1 : stop - buffer[start]]
        else:
            data = buffer[start:stop]
        if stream.expected_bytes >= 0:
            self._count_content(stream, len(data), ended=bool(flags & 0x1))
        if flags & 0x1:
            self._events.append(DataReceived(stream, data, 0, True))
            self._remote_ended(stream)
            return
        if not data:
            self._charge()
        stream.unconsumed += length
        self.unconsumed += length
        self._events.append(DataReceived(stream, data, length, False))

    def _count_content(self, stream: Stream, size: int, *, ended: bool) -> None:
        """Holds data against content-length (section 8.1.1)."""
        stream.expected_bytes -= size
        if stream.expected_bytes < 0 or (ended and stream.expected_bytes):
            raise StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, "content-length does not match the data")

    # ---- header blocks

    def _on_headers(self, buffer: bytes, start: int, stop: int, flags: int, stream_id: int) -> None:
        self_dependent = False
        if flags & 0x28:
            end = stop
            if flags & frames.PADDED:
                if start == stop or buffer[start] >= stop - start:
                    raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
                stop -= buffer[start]
                start += 1
            if flags & frames.PRIORITY_FLAG:
                if stop - start < 5:
                    raise RemoteFault(ErrorCode.FRAME_SIZE_ERROR, f"HEADERS of {end - start} bytes with priority")
                self_dependent = _uint32(buffer, start)[0] & STREAM_ID_MAX == stream_id
                start += 5
        block = buffer[start:stop]
        if flags & frames.END_HEADERS:
            self._on_block(stream_id, block, bool(flags & frames.END_STREAM), self_dependent)
            return
        if stream_id == 0:
            raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        self._open_block = OpenBlock(
            stream_id, block, ends=bool(flags & frames.END_STREAM), self_dependent=self_dependent
        )

    def _on_continuation(self, buffer: bytes, start: int, stop: int, flags: int, stream_id: int) -> None:
        block = self._open_block
        if block is None or block.stream_id != stream_id:
            raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without its HEADERS")
        block.bytes += stop - start
        block.frames += 1
        if block.bytes > self.limits.header_block_bytes_max or block.frames > self.limits.continuations_max:
            raise RemoteFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block that is too long")
        block.parts.append(buffer[start:stop])
        if flags & frames.END_HEADERS:
            self._open_block = None
            self._on_block(stream_id, b"".join(block.parts), block.ends, block.self_dependent)

    def _on_block(self, stream_id: int, encoded: bytes, ends: bool, self_dependent: bool) -> None:
        if stream_id == 0:
            raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        block = self._decoder.decode(encoded)
        stream = self.streams.get(stream_id)
        if self_dependent:
            self.last_remote_id = max(self.last_remote_id, stream_id if not self.client else 0)
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")
        if stream is None:
            if self.client or stream_id <= self.last_remote_id:
                self._on_closed_stream(stream_id, "HEADERS")
                return
            self._on_request(stream_id, block, ends)
        elif stream.remote_ended:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM")
        elif not stream.remote_headers:
            self._on_response(stream, block, ends)
        else:
            self._on_trailers(stream, block, ends)

    def _on_request(self, stream_id: int, block: HeaderBlock, ends: bool) -> None:
        if not stream_id & 1:
            raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "a client's stream has an even number")
        self.last_remote_id = stream_id
        if stream_id > self.refuse_above:
            self._remember_reset(stream_id)  # It was told by GOAWAY that this one is not served.
            self._charge()
            return
        if len(self.streams) >= self.limits.streams_max:
            raise StreamFault(stream_id, ErrorCode.REFUSED_STREAM, "too many streams")
        if not block.valid_as & validation.REQUEST or block.oversize:
            self._check(stream_id, block, validation.REQUEST)
        stream = Stream(stream_id, self.peer.initial_window_bytes, self.limits.stream_window_bytes)
        stream.remote_headers = True
        self.streams[stream_id] = stream
        if block.content_length is not None:
            stream.expected_bytes = block.content_length
            if ends:
                self._count_content(stream, 0, ended=True)
        self._events.append(HeadersReceived(stream, block, ends, False))
        if ends:
            stream.remote_ended = True

    def _on_response(self, stream: Stream, block: HeaderBlock, ends: bool) -> None:
        if not block.valid_as & validation.RESPONSE or block.oversize:
            self._check(stream.id, block, validation.RESPONSE)
        status = block.fields[0][1]
        if status[0] == 0x31:  # Informational (RFC 9110 section 15.2): more will follow.
            if ends:
                raise StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, "an informational response that ends")
            self._charge()
            return
        stream.remote_headers = True
        if block.content_length is not None and status not in (b"204", b"304"):
            stream.expected_bytes = block.content_length
            if ends:
                self._count_content(stream, 0, ended=True)
        self._events.append(HeadersReceived(stream, block, ends, False))
        if ends:
            self._remote_ended(stream)

    def _on_trailers(self, stream: Stream, block: HeaderBlock, ends: bool) -> None:
        if not ends:
            raise StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, "trailers without END_STREAM")
        if not block.valid_as & validation.TRAILERS or block.oversize:
            self._check(stream.id, block, validation.TRAILERS)
        if stream.expected_bytes >= 0:
            self._count_content(stream, 0, ended=True)
        self._events.append(HeadersReceived(stream, block, True, True))
        self._remote_ended(stream)

    def _check(self, stream_id: int, block: HeaderBlock, kind: int) -> None:
        if block.oversize:
            raise StreamFault(stream_id, ErrorCode.ENHANCE_YOUR_CALM, "a header list that is too long")
        fault = validation.fault_in(block, kind)
        if fault is not None:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, fault)
