"""An HTTP/2 connection without I/O, for either role (RFC 9113).

Bytes in by `receive`, which returns events; bytes out by `take_output`. Nothing here waits, reads a clock or raises
for what the peer sent: a broken stream is reset and reported as StreamEnded, a broken connection gets GOAWAY and is
reported as ConnectionFailed, after which no more is read.

Invariants:
- Every header block goes through the decoder, in order, also those of streams that are refused or closed: the HPACK
  table must follow the peer's.
- Every DATA frame counts against the connection's window, also on streams that are closed.
- A peer's stream number only grows; a number below the highest that has no `Stream` is closed.
"""

from collections.abc import Callable

from cluster.rpc.http2 import frames, settings, validation
from cluster.rpc.http2.errors import ErrorCode, LocalFault, RemoteFault, StreamFault
from cluster.rpc.http2.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    PingAcknowledged,
    PingReceived,
    ReplyReceived,
    SettingsReceived,
    StreamEnded,
)
from cluster.rpc.http2.frames import STREAM_ID_MAX, WINDOW_MAX
from cluster.rpc.http2.headers import HeaderBlock, HeaderDecoder, OpenBlock
from cluster.rpc.http2.limits import Guard, Limits
from cluster.rpc.http2.outbound import SMALL_BLOCK_BYTES, Outbound
from cluster.rpc.http2.stream import Stream

_pack_header = frames.HEADER.pack
_unpack_header = frames.HEADER.unpack_from
_uint32 = frames.UINT32.unpack_from

TINY_INCREMENT_BYTES = 1024
"""Window updates below this count as work that carries nothing."""


class Connection(Outbound):
    """One HTTP/2 connection. Call `start` first, then `receive` with whatever the transport read."""

    def __init__(self, limits: Limits, *, client: bool) -> None:
        super().__init__(limits, client=client)
        self._decoder = HeaderDecoder(limits.header_list_bytes_max, limits.header_cache_bytes_max)
        self._idle_work = Guard(limits.idle_work, "frames that carry nothing")
        self._resets = Guard(limits.resets, "reset streams")
        self._leftover = b""
        self._preface_left = b"" if client else frames.PREFACE
        self._settings_seen = False
        self._open_block: OpenBlock | None = None
        self._now_s = 0.0
        self._control_replies = 0
        self._next_stream_id = 1
        self.last_remote_id = 0
        """The highest stream that the peer has opened."""
        self.refuse_above = STREAM_ID_MAX
        """After a final GOAWAY of ours: streams above this are ignored."""
        self.going_away = False
        """The peer sent GOAWAY: no new streams."""
        self._handlers: dict[int, Callable[[bytes, int, int, int, int], None]] = {
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_reset,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }

    # ---- for the layer above

    def start(self) -> None:
        """Queues this side's preface: settings, and the connection's window."""
        limits = self.limits
        values = {
            settings.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
            settings.MAX_FRAME_SIZE: limits.frame_bytes_max,
            settings.MAX_HEADER_LIST_SIZE: limits.header_list_bytes_max,
        }
        if self.client:
            self.out.append(frames.PREFACE)
            values[settings.ENABLE_PUSH] = 0
        else:
            values[settings.MAX_CONCURRENT_STREAMS] = limits.streams_max
        self.out.append(frames.settings_frame(values))
        extra = limits.connection_window_bytes - 65_535
        if extra:
            self.out.append(frames.window_update_frame(0, extra))
            self.receive_window += extra

    @property
    def can_open(self) -> bool:
        """Whether a client may open one more stream now."""
        return (
            not self.going_away
            and not self.failed
            and len(self.streams) < self.peer.streams_max
            and self._next_stream_id <= STREAM_ID_MAX
        )

    @property
    def exhausted(self) -> bool:
        """Whether a client has used all stream numbers (section 5.1.1), and needs a new connection."""
        return self._next_stream_id > STREAM_ID_MAX

    def open(self, block: bytes, *, ends: bool = False) -> Stream:
        """Opens a stream with a request's header block. Raises LocalFault unless `can_open`."""
        if not self.client or not self.can_open:
            raise LocalFault("a stream cannot be opened here now")
        stream = Stream(self._next_stream_id, self.peer.initial_window_bytes, self.limits.stream_window_bytes)
        self._next_stream_id += 2
        self.streams[stream.id] = stream
        self.send_headers(stream, block, ends=ends)
        return stream

    def request(self, block: bytes, data: bytes) -> Stream:
        """Opens a stream with a whole request, usually without queueing. Raises LocalFault unless `can_open`."""
        size = len(data)
        peer = self.peer
        if (
            self.blocked
            or self._block_prefix
            or size > self.send_window
            or size > peer.initial_window_bytes
            or size > peer.frame_bytes_max
            or len(block) > SMALL_BLOCK_BYTES
            or not self.client
            # `can_open`, whose call would cost as much as all of this.
            or self.going_away
            or self.failed
            or len(self.streams) >= peer.streams_max
            or self._next_stream_id > STREAM_ID_MAX
        ):
            stream = self.open(block)
            self.send_data(stream, data, ends=True)
            return stream
        stream_id = self._next_stream_id
        self._next_stream_id = stream_id + 2
        stream = Stream(stream_id, peer.initial_window_bytes - size, self.limits.stream_window_bytes)
        stream.local_ended = stream.end_sent = True
        self.streams[stream_id] = stream
        self.send_window -= size
        self.data_frames += 1
        self.out += (
            _pack_header(len(block) >> 8, len(block) & 0xFF, 0x1, 0x4, stream_id),
            block,
            _pack_header(size >> 8, size & 0xFF, 0x0, 0x1, stream_id),
            data,
        )
        return stream

    def receive(self, data: bytes, now_s: float) -> list[Event]:
        """Takes what the transport read, at the monotonic time `now_s`. Never raises for the peer's bytes."""
        events = self._events = []
        if self.failed:
            return events
        self._now_s = now_s
        if not self.blocked:
            self._control_replies = 0
        try:
            self._parse(data)
        except RemoteFault as fault:
            self._fail(fault)
        return events

    # ---- parsing

    def _parse(self, data: bytes) -> None:
        buffer = self._leftover + data if self._leftover else data
        at = self._skip_preface(buffer) if self._preface_left else 0
        end = len(buffer)
        frame_bytes_max = self.limits.frame_bytes_max
        while end - at >= 9:
            high, low, kind, flags, stream_id = _unpack_header(buffer, at)
            length = high << 8 | low
            if length > frame_bytes_max:
                raise RemoteFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = at + 9
            stop = start + length
            if stop > end:
                break
            at = stop
            stream_id &= STREAM_ID_MAX
            if not self._settings_seen and kind != frames.SETTINGS:
                raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            if self._open_block is not None and kind != frames.CONTINUATION:
                raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "a header block is interrupted")
            try:
                if kind == 0x0:
                    self._on_data(buffer, start, stop, flags, stream_id)
                elif kind == 0x1:
                    if flags == 0x4 and self.client and (after := self._whole_reply(buffer, start, stop, stream_id)):
                        at = after
                    else:
                        self._on_headers(buffer, start, stop, flags, stream_id)
                else:
                    handler = self._handlers.get(kind)
                    if handler is None:
                        self._charge()  # Unknown types are ignored (section 5.5), but not for free.
                    else:
                        handler(buffer, start, stop, flags, stream_id)
            except StreamFault as fault:
                self._reset_for(fault)
        self._leftover = buffer[at:] if at < end else b""

    def _skip_preface(self, buffer: bytes) -> int:
        """Checks as much of the client's preface as has come; returns how much of `buffer` it was."""
        expected = self._preface_left
        part = buffer[: len(expected)]
        if not expected.startswith(part):
            raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 preface")
        self._preface_left = expected[len(part) :]
        return len(part)

    def _whole_reply(self, buffer: bytes, start: int, stop: int, stream_id: int) -> int:
        """Takes a response's HEADERS at `start` together with its only DATA and its trailers, if they are all there.

        Returns where they end, or 0 when anything is out of the ordinary: then nothing has been done, and the frames
        go the long way one by one. Both header blocks must be in the decoder's cache, so they do not touch its table.
        """
        data_at = stop + 9
        if data_at + 9 > len(buffer):
            return 0
        high, low, kind, flags, second_id = _unpack_header(buffer, stop)
        size = high << 8 | low
        tail_at = data_at + size + 9
        if kind or flags or not size or second_id != stream_id or tail_at > len(buffer):
            return 0
        high, low, kind, flags, third_id = _unpack_header(buffer, tail_at - 9)
        end: int = tail_at + (high << 8 | low)
        if (
            kind != 0x1
            or flags != 0x5
            or third_id != stream_id
            or end > len(buffer)
            or end - start > self.limits.frame_bytes_max
        ):
            return 0
        stream = self.streams.get(stream_id)
        known = self._decoder.cache
        head = known.get(buffer[start:stop])
        trailers = known.get(buffer[tail_at:end])
        if (
            stream is None
            or head is None
            or trailers is None
            or not head.valid_as & validation.RESPONSE
            or not trailers.valid_as & validation.TRAILERS
            or head.content_length is not None
            or head.fields[0][1] != b"200"
            or stream.remote_headers
            or not stream.end_sent
            or size > stream.receive_window
            or size > self.receive_window
        ):
            return 0
        self.receive_window -= size
        self._connection_owed += size
        if self._connection_owed >= self._connection_grant:
            self._grant_connection()
        stream.remote_headers = stream.remote_ended = stream.closed = True
        del self.streams[stream_id]
        self._events.append(ReplyReceived(stream, head, buffer[data_at : tail_at - 9], trailers))
        return end

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

    def _on_priority(self, buffer: bytes, start: int, stop: int, _flags: int, stream_id: int) -> None:
        if stream_id == 0:
            raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if stop - start != 5:
            raise StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of another length than 5")
        if _uint32(buffer, start)[0] & STREAM_ID_MAX == stream_id:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")
        self._charge()

    def _on_reset(self, buffer: bytes, start: int, stop: int, _flags: int, stream_id: int) -> None:
        if stop - start != 4:
            raise RemoteFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM of another length than 4")
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id, "RST_STREAM")
            self._charge()
            return
        code = _uint32(buffer, start)[0]
        self._forget(stream)
        self._events.append(
            StreamEnded(stream, code, "reset by the peer", remote=True, unprocessed=code == ErrorCode.REFUSED_STREAM)
        )
        if not self.client:
            self._resets.charge(self._now_s)

    def _on_settings(self, buffer: bytes, start: int, stop: int, flags: int, stream_id: int) -> None:
        if stream_id:
            raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        length = stop - start
        if flags & frames.ACK:
            if length:
                raise RemoteFault(ErrorCode.FRAME_SIZE_ERROR, "a SETTINGS acknowledgement with settings")
            if not self._settings_seen:
                raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._charge()
            return
        if length % 6:
            raise RemoteFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a length that is no multiple of 6")
        self._charge()
        before = self.peer.initial_window_bytes
        self.peer.apply(buffer[start:stop], from_server=self.client)
        self._settings_seen = True
        self._reply(frames.SETTINGS_ACK)
        change = self.peer.initial_window_bytes - before
        if change:
            for stream in self.streams.values():
                stream.send_window += change
                if stream.send_window > WINDOW_MAX:
                    raise RemoteFault(ErrorCode.FLOW_CONTROL_ERROR, "settings overflow a stream's window")
                if stream.queue:
                    self._waiting[stream] = None
            self._pump()
        self._events.append(SettingsReceived())

    def _on_push_promise(self, _buffer: bytes, _start: int, _stop: int, _flags: int, _stream_id: int) -> None:
        raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, which is not allowed here")

    def _on_ping(self, buffer: bytes, start: int, stop: int, flags: int, stream_id: int) -> None:
        if stream_id:
            raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if stop - start != 8:
            raise RemoteFault(ErrorCode.FRAME_SIZE_ERROR, "PING of another length than 8")
        self._charge()
        opaque = buffer[start:stop]
        if flags & frames.ACK:
            self._events.append(PingAcknowledged(opaque))
            return
        self._reply(frames.ping_frame(opaque, acknowledge=True))
        self._events.append(PingReceived())

    def _on_goaway(self, buffer: bytes, start: int, stop: int, _flags: int, stream_id: int) -> None:
        if stream_id:
            raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if stop - start < 8:
            raise RemoteFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of less than 8 bytes")
        self._charge()
        last, code = frames.GOAWAY_HEAD.unpack_from(buffer, start)
        last &= STREAM_ID_MAX
        self.going_away = True
        if self.client:
            for stream in [stream for stream in self.streams.values() if stream.id > last]:
                self._forget(stream)
                self._remember_reset(stream.id)
                self._events.append(
                    StreamEnded(stream, code, "refused by GOAWAY", remote=True, unprocessed=True),
                )
        self._events.append(GoAwayReceived(last, code, buffer[start + 8 : stop]))

    def _on_window_update(self, buffer: bytes, start: int, stop: int, _flags: int, stream_id: int) -> None:
        if stop - start != 4:
            raise RemoteFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE of another length than 4")
        increment = _uint32(buffer, start)[0] & STREAM_ID_MAX
        if increment < TINY_INCREMENT_BYTES:
            self._charge()
        if stream_id == 0:
            if increment == 0:
                raise RemoteFault(ErrorCode.PROTOCOL_ERROR, "a window update by 0")
            self.send_window += increment
            if self.send_window > WINDOW_MAX:
                raise RemoteFault(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window overflows")
            self._pump()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id, "WINDOW_UPDATE")
            self._charge()
            return
        if increment == 0:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "a window update by 0")
        stream.send_window += increment
        if stream.send_window > WINDOW_MAX:
            raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "the stream's window overflows")
        if stream.queue:
            self._waiting[stream] = None
            self._pump()

    # ---- faults

    def _remote_ended(self, stream: Stream) -> None:
        stream.remote_ended = True
        if stream.end_sent:
            self._forget(stream)

    def _check_not_idle(self, stream_id: int, what: str) -> None:
        if stream_id == 0:
            raise RemoteFault(ErrorCode.PROTOCOL_ERROR, f"{what} on stream 0")
        opened_by_us = bool(stream_id & 1) == self.client
        if stream_id >= self._next_stream_id if opened_by_us else stream_id > self.last_remote_id:
            raise RemoteFault(ErrorCode.PROTOCOL_ERROR, f"{what} on idle stream {stream_id}")

    def _on_closed_stream(self, stream_id: int, what: str) -> None:
        """A frame for a stream that has no object: fine if we reset it, for the peer may not have known."""
        self._check_not_idle(stream_id, what)
        if stream_id in self._reset_by_us:
            self._charge()
            return
        if what == "HEADERS":
            raise RemoteFault(ErrorCode.STREAM_CLOSED, f"HEADERS on closed stream {stream_id}")
        raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, f"{what} on closed stream {stream_id}")

    def _reset_for(self, fault: StreamFault) -> None:
        stream = self.streams.get(fault.stream_id)
        self._reply(frames.reset_frame(fault.stream_id, fault.code))
        self._remember_reset(fault.stream_id)
        if stream is not None:
            self._forget(stream)
            self._events.append(StreamEnded(stream, fault.code, fault.reason, remote=False))
        self._resets.charge(self._now_s)

    def _charge(self) -> None:
        self._idle_work.charge(self._now_s, self.data_frames)

    def _reply(self, frame: bytes) -> None:
        """Sends what the peer caused by a control frame, unless it lets too many of them pile up."""
        if self.blocked:
            self._control_replies += 1
            if self._control_replies > self.limits.control_replies_max:
                raise RemoteFault(ErrorCode.ENHANCE_YOUR_CALM, "too many control frames and none of the replies read")
        self.out.append(frame)

    def _fail(self, fault: RemoteFault) -> None:
        self.failed = True
        self._leftover = b""
        self._open_block = None
        self.out.append(frames.goaway_frame(self.last_remote_id, fault.code, fault.reason.encode()[:256]))
        for stream in list(self.streams.values()):
            self._forget(stream)
            self._events.append(StreamEnded(stream, fault.code, f"connection: {fault.reason}", remote=False))
        self._events.append(ConnectionFailed(fault.code, fault.reason))
