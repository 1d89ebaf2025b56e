"""The receiving half for what carries no message: settings, windows, pings, resets, goodbyes; and faults of all kinds.

Invariants:
- A peer's stream number only grows; a number below the highest that has no `Stream` is closed.
- Whatever a peer can send for nothing is charged: frames that carry nothing, resets, and replies that it does not read.
"""

from cluster.rpc.http2 import frames
from cluster.rpc.http2.errors import ErrorCode, RemoteFault, StreamFault
from cluster.rpc.http2.events import GoAwayReceived, PingAcknowledged, PingReceived, SettingsReceived, StreamEnded
from cluster.rpc.http2.frames import STREAM_ID_MAX, WINDOW_MAX
from cluster.rpc.http2.limits import Guard, Limits
from cluster.rpc.http2.outbound import Outbound
from cluster.rpc.http2.stream import Stream

_uint32 = frames.UINT32.unpack_from

TINY_INCREMENT_BYTES = 1024
"""Window updates below this count as work that carries nothing."""


class Control(Outbound):
    """Takes control frames, by the role; a frame is `buffer[start:stop]`."""

    def __init__(self, limits: Limits, *, client: bool) -> None:
        super().__init__(limits, client=client)
        self._idle_work = Guard(limits.idle_work, "frames that carry nothing")
        self._resets = Guard(limits.resets, "reset streams")
        self._settings_seen = False
        self._now_s = 0.0
        self._control_replies = 0
        self._next_stream_id = 1
        self.last_remote_id = 0
        """The highest stream that the peer has opened."""
        self.going_away = False
        """The peer sent GOAWAY: no new streams."""

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

    # ---- streams that are closed, faults and floods

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
