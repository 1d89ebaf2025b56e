"""The sending half of a connection: frames out, windows, and the queues behind them.

Invariants:
- Nothing that a stream sends overtakes what it has queued; streams take turns, a frame each.
- While `blocked` (the transport holds too much already) streams send nothing at all, header blocks included. A stream
  that cannot finish keeps its place among the open ones, so a peer that does not read cannot make us buffer for more
  than `streams_max` streams.
- `send_window` of connection and streams never goes below zero by our sending.
"""

from collections import deque

from cluster.rpc.http2 import frames
from cluster.rpc.http2.errors import ErrorCode, LocalFault
from cluster.rpc.http2.events import Event, StreamDrained
from cluster.rpc.http2.headers import TABLE_SIZE_ZERO
from cluster.rpc.http2.limits import Limits
from cluster.rpc.http2.settings import PeerSettings
from cluster.rpc.http2.stream import Queued, Stream

QUEUE_LOW_BYTES = 32 * 1024
"""A stream's writer is told to go on when no more than this waits."""
RESETS_REMEMBERED_MAX = 1024
"""Streams that we reset and for which frames may still be under way."""
SMALL_BLOCK_BYTES = 8 * 1024
"""Header blocks of a reply up to this take the short way."""

_pack = frames.HEADER.pack


class Outbound:
    """What both roles share for sending. `Control` and `Messages` add the receiving half."""

    def __init__(self, limits: Limits, *, client: bool) -> None:
        self.limits = limits
        self.client = client
        self.peer = PeerSettings()
        self.streams: dict[int, Stream] = {}
        """Open streams by number."""
        self.send_window = 65_535
        self.blocked = False
        self.failed = False
        """A GOAWAY for the peer's fault is out; nothing but closing is left."""
        self.out: list[bytes] = []
        """Bytes for the transport, in order."""
        self.data_frames = 0
        """DATA frames sent: useful work, which buys the peer control frames."""
        self.receive_window = 65_535
        """What the peer may still send on all streams together."""
        self.unconsumed = 0
        """Received on open streams, and not consumed."""
        self._events: list[Event] = []
        self._waiting: dict[Stream, None] = {}
        self._block_prefix = TABLE_SIZE_ZERO
        self._reset_by_us: dict[int, None] = {}
        self._connection_owed = 0
        self._stream_grant = limits.stream_window_bytes // 2
        self._connection_grant = limits.connection_window_bytes // 2

    # ---- the output

    def take_output(self) -> bytes:
        """What must be written now. Empty when there is nothing."""
        if not self.out:
            return b""
        data = b"".join(self.out)
        self.out.clear()
        return data

    def block(self) -> None:
        """The transport is full: streams queue from here on."""
        self.blocked = True

    def unblock(self) -> list[Event]:
        """The transport has room again. Returns StreamDrained events."""
        self.blocked = False
        events = self._events = []
        self._pump()
        return events

    # ---- streams

    def send_headers(self, stream: Stream, block: bytes, *, ends: bool = False) -> None:
        """Sends a header block; with `ends`, it is the last thing on this stream.

        Raises LocalFault when this side has ended the stream already, or it is closed.
        """
        self._check_open(stream)
        if ends:
            stream.local_ended = True
        if self.blocked or stream.queue:
            self._enqueue(stream, Queued(block, is_headers=True, ends=ends))
        else:
            self._emit_headers(stream, block, ends)

    def send_data(self, stream: Stream, data: bytes, *, ends: bool = False) -> None:
        """Sends data as far as the windows allow, and queues the rest: see `Stream.queued_bytes`.

        Raises LocalFault when this side has ended the stream already, or it is closed.
        """
        self._check_open(stream)
        size = len(data)
        if ends:
            stream.local_ended = True
        if (
            not self.blocked
            and not stream.queue
            and size <= stream.send_window
            and size <= self.send_window
            and size <= self.peer.frame_bytes_max
        ):
            stream.send_window -= size
            self.send_window -= size
            self.data_frames += 1
            self.out += (
                _pack(size >> 8, size & 0xFF, frames.DATA, frames.END_STREAM if ends else 0, stream.id),
                data,
            )
            if ends:
                self._end_sent(stream)
            return
        self._enqueue(stream, Queued(data, is_headers=False, ends=ends))
        stream.queued_bytes += size
        self._pump()

    def send_reply(self, stream: Stream, head: bytes, prefix: bytes, body: bytes, tail: bytes) -> None:
        """Sends headers, `prefix + body` as data, and trailers: a whole unary reply, usually without queueing.

        Raises LocalFault when this side has ended the stream already, or it is closed.
        """
        size = len(prefix) + len(body)
        if (
            self.blocked
            or stream.queue
            or self._block_prefix
            or stream.local_ended
            or stream.closed
            or size > stream.send_window
            or size > self.send_window
            or size > self.peer.frame_bytes_max
            or len(head) + len(tail) > SMALL_BLOCK_BYTES
        ):
            self.send_headers(stream, head)
            self.send_data(stream, prefix + body)
            self.send_headers(stream, tail, ends=True)
            return
        stream_id = stream.id
        self.send_window -= size
        self.data_frames += 1
        self.out += (
            _pack(len(head) >> 8, len(head) & 0xFF, 0x1, 0x4, stream_id),
            head,
            _pack(size >> 8, size & 0xFF, 0x0, 0x0, stream_id),
            prefix,
            body,
            _pack(len(tail) >> 8, len(tail) & 0xFF, 0x1, 0x5, stream_id),
            tail,
        )
        stream.local_ended = True
        if stream.remote_ended:
            stream.end_sent = stream.closed = True
            del self.streams[stream_id]
        else:
            self._end_sent(stream)

    def reset(self, stream: Stream, code: int) -> None:
        """Ends a stream at once, dropping what it has queued. Does nothing when it is closed."""
        if stream.closed:
            return
        if not (self.client and stream.queue and stream.queue[0].is_headers):
            # Otherwise its request never went out, and to the peer the stream is idle still.
            self.out.append(frames.reset_frame(stream.id, code))
        self._forget(stream)
        self._remember_reset(stream.id)

    def consume(self, stream: Stream, size: int) -> None:
        """Gives `size` received bytes back to the stream's window: they are used, and the peer may send more."""
        size = min(size, stream.unconsumed)
        stream.unconsumed -= size
        self.unconsumed -= size
        if not stream.closed and not stream.remote_ended:
            stream.owed += size
            if stream.owed >= self._stream_grant:
                self.out.append(frames.window_update_frame(stream.id, stream.owed))
                stream.receive_window += stream.owed
                stream.owed = 0
        self._grant_connection()

    # ---- the connection

    def ping(self, opaque: bytes) -> None:
        """Asks for a sign of life: PingAcknowledged will carry the same eight bytes."""
        if len(opaque) != 8:
            raise LocalFault("a ping carries eight bytes")
        self.out.append(frames.ping_frame(opaque, acknowledge=False))

    def go_away(self, last_stream_id: int, code: ErrorCode = ErrorCode.NO_ERROR, debug: bytes = b"") -> None:
        """Tells the peer that streams above `last_stream_id` will not be served."""
        self.out.append(frames.goaway_frame(last_stream_id, code, debug))

    # ---- within

    def _check_open(self, stream: Stream) -> None:
        if stream.closed or stream.local_ended:
            raise LocalFault(f"sending on a stream that has ended: {stream!r}")

    def _enqueue(self, stream: Stream, item: Queued) -> None:
        if stream.queue is None:
            stream.queue = deque()
        stream.queue.append(item)
        self._waiting[stream] = None

    def _emit_headers(self, stream: Stream, block: bytes, ends: bool) -> None:
        if self._block_prefix:
            block = self._block_prefix + block
            self._block_prefix = b""
        flags = frames.END_STREAM if ends else 0
        self.out.append(frames.headers_frames(stream.id, block, flags, self.peer.frame_bytes_max))
        if ends:
            self._end_sent(stream)

    def _end_sent(self, stream: Stream) -> None:
        stream.end_sent = True
        if stream.remote_ended:
            self._forget(stream)
        elif not self.client:
            # A complete response needs no more of the request (RFC 9113 section 8.1). Without the reset, a peer
            # that never ends its half would hold the stream open for good.
            self.reset(stream, ErrorCode.NO_ERROR)

    def _pump(self) -> None:
        """Lets every waiting stream send a frame, round after round, until windows or the transport are full."""
        waiting = self._waiting
        progress = True
        while progress and waiting and not self.blocked:
            progress = False
            for stream in list(waiting):
                if self._advance(stream):
                    progress = True

    def _advance(self, stream: Stream) -> bool:
        """Sends what is free and at most one DATA frame of a waiting stream. Returns whether anything went out."""
        queue = stream.queue
        sent = False
        while queue:
            item = queue[0]
            if item.is_headers:
                queue.popleft()
                self._emit_headers(stream, item.payload, item.ends)
                sent = True
                continue
            left = len(item.payload) - item.at
            size = min(left, stream.send_window, self.send_window, self.peer.frame_bytes_max)
            if left and size <= 0:
                if stream.send_window <= 0:
                    # Its own window is shut: WINDOW_UPDATE or SETTINGS will put it back into the round.
                    self._waiting.pop(stream, None)
                return sent
            # A zero-length frame needs no window (section 6.9.1).
            self._emit_data(stream, item, max(size, 0))
            if item.at == len(item.payload):
                queue.popleft()
                if item.ends:
                    self._end_sent(stream)
            if queue:
                return True
            sent = True
        self._waiting.pop(stream, None)
        if queue is not None:
            stream.queue = None
        return sent

    def _emit_data(self, stream: Stream, item: Queued, size: int) -> None:
        payload = item.payload[item.at : item.at + size] if size < len(item.payload) else item.payload
        item.at += size
        stream.send_window -= size
        self.send_window -= size
        self.data_frames += 1
        last = item.ends and item.at == len(item.payload)
        self.out += (frames.frame_header(size, frames.DATA, frames.END_STREAM if last else 0, stream.id), payload)
        before = stream.queued_bytes
        stream.queued_bytes -= size
        if before > QUEUE_LOW_BYTES >= stream.queued_bytes:
            self._events.append(StreamDrained(stream))

    def _forget(self, stream: Stream) -> None:
        stream.closed = True
        self.streams.pop(stream.id, None)
        if stream.queue is not None:
            stream.queue = None
            stream.queued_bytes = 0
            self._waiting.pop(stream, None)
        if stream.unconsumed:
            self.unconsumed -= stream.unconsumed
            stream.unconsumed = 0
            self._grant_connection()

    def _remember_reset(self, stream_id: int) -> None:
        remembered = self._reset_by_us
        remembered[stream_id] = None
        if len(remembered) > RESETS_REMEMBERED_MAX:
            del remembered[next(iter(remembered))]

    def _grant_connection(self) -> None:
        owed = self._connection_owed
        if owed >= self._connection_grant and self.unconsumed <= self.limits.unconsumed_bytes_max:
            self.out.append(frames.window_update_frame(0, owed))
            self.receive_window += owed
            self._connection_owed = 0
