"""An HTTP/2 connection without I/O, for either role (RFC 9113).

Bytes in by `receive`, which returns events; bytes out by `take_output`. Nothing here waits, reads a clock or raises
for what the peer sent: a broken stream is reset and reported as StreamEnded, a broken connection gets GOAWAY and is
reported as ConnectionFailed, after which no more is read.

A connection is built in floors, each a file and a class on the one beneath:

    Outbound     outbound.py     what goes out: windows, queues, turns
    Control      control.py      frames that carry no message, floods, and how streams and connections fail
    Messages     messages.py     header blocks and data: requests, responses, trailers
    Connection   here            the layer above's calls, and frames out of bytes

They are one object, and not four that call each other, so that no frame costs a call more than its own handler.
"""

from collections.abc import Callable

from cluster.rpc.http2 import frames, settings, validation
from cluster.rpc.http2.errors import ErrorCode, LocalFault, RemoteFault, StreamFault
from cluster.rpc.http2.events import ConnectionFailed, Event, ReplyReceived, StreamEnded
from cluster.rpc.http2.frames import STREAM_ID_MAX
from cluster.rpc.http2.limits import Limits
from cluster.rpc.http2.messages import Messages
from cluster.rpc.http2.outbound import SMALL_BLOCK_BYTES
from cluster.rpc.http2.stream import Stream

_pack_header = frames.HEADER.pack
_unpack_header = frames.HEADER.unpack_from


class Connection(Messages):
    """One HTTP/2 connection. Call `start` first, then `receive` with whatever the transport read."""

    def __init__(self, limits: Limits, *, client: bool) -> None:
        super().__init__(limits, client=client)
        self._leftover = b""
        self._preface_left = b"" if client else frames.PREFACE
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

    # ---- frames out of bytes

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

    def _fail(self, fault: RemoteFault) -> None:
        self.failed = True
        self._leftover = b""
        self._open_block = None
        self.out.append(frames.goaway_frame(self.last_remote_id, fault.code, fault.reason.encode()[:256]))
        for stream in list(self.streams.values()):
            self._forget(stream)
            self._events.append(StreamEnded(stream, fault.code, f"connection: {fault.reason}", remote=False))
        self._events.append(ConnectionFailed(fault.code, fault.reason))
