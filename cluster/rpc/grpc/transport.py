"""An HTTP/2 connection on an asyncio transport, for both roles.

One read of the transport is one `receive`, one dispatch of its events, and one write of all that came of it. What
tasks send is written once per turn of the event loop. When the transport holds too much, streams queue (see
`http2.outbound`), and writers wait in `call` objects.
"""

import asyncio
from typing import cast

from cluster.rpc.grpc.outbox import Outbox
from cluster.rpc.http2 import Connection, ErrorCode, Limits
from cluster.rpc.http2.events import Event

FLUSH_BYTES = 64 * 1024
"""Tasks' output is written before the turn's end once it is this long."""
CALL_BYTES = 4 * 1024
"""What a whole request or reply counts towards FLUSH_BYTES beside its own bytes: after sixteen of them in one turn the
peer gets to work while this side goes on. Until the turn's end the peer would have nothing to do, and then this side:
on two cores, with 50 calls in flight, that halved the rate."""
KEEPALIVE_PING = b"orrery\x00k"


class Http2Protocol(asyncio.Protocol):
    """What server and client connections share."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        *,
        client: bool,
        keepalive_s: float,
        keepalive_timeout_s: float,
        linger_s_max: float,
    ) -> None:
        self.loop = loop
        self.http2 = Connection(limits, client=client)
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self._flush_scheduled = False
        self._keepalive_s = keepalive_s
        self._keepalive_timeout_s = keepalive_timeout_s
        self._linger_s_max = linger_s_max
        self._keepalive_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._heard_s = 0.0
        self._ping_pending = False
        self.keepalives_sent = 0
        self.unflushed_bytes = 0
        """Roughly what calls have put out since the last write."""
        self.outboxes: list[Outbox] = []
        """Those that have gathered something."""

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends this side's preface."""
        self.transport = cast("asyncio.Transport", transport)
        self._heard_s = self.loop.time()
        self.http2.start()
        self.flush()
        if self._keepalive_s > 0:
            self._keepalive_timer = self.loop.call_later(self._keepalive_s, self._keep_alive)

    def data_received(self, data: bytes) -> None:
        """Parses, dispatches, and writes what came of it."""
        now_s = self._heard_s = self.loop.time()
        self._ping_pending = False
        self._dispatch(self.http2.receive(data, now_s))
        if self.http2.out or self.outboxes:
            self.flush()
        if self.http2.failed:
            self.close()

    def eof_received(self) -> bool:
        """The peer sends no more: without its window updates and acknowledgements HTTP/2 cannot go on."""
        return False

    def pause_writing(self) -> None:
        """The transport is full."""
        self.http2.block()

    def resume_writing(self) -> None:
        """The transport has room: whatever queued goes out, and writers wake."""
        self._dispatch(self.http2.unblock())
        self.flush()
        self.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends every call on this connection."""
        self.lost = True
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        if self._keepalive_timer is not None:
            self._keepalive_timer.cancel()
        self.ended(exc)

    # ---- for calls

    def schedule_flush(self, size: int) -> None:
        """Asks for a write at the end of this turn, or at once when much has gathered."""
        self.unflushed_bytes += size
        if self.unflushed_bytes >= FLUSH_BYTES:
            self.flush()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
            self.loop.call_soon(self._flush_turn)

    def _flush_turn(self) -> None:
        self._flush_scheduled = False
        self.flush()

    def flush(self) -> None:
        """Writes what is there."""
        self.unflushed_bytes = 0
        if self.outboxes:
            outboxes, self.outboxes = self.outboxes, []
            for outbox in outboxes:
                outbox.empty()
        data = self.http2.take_output()
        if data and self.transport is not None and not self.lost:
            self.transport.write(data)

    def close(self) -> None:
        """Closes after what is written, but does not wait long for a peer that does not read. Harmless twice."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
            if not self.lost:
                self._linger_timer = self.loop.call_later(self._linger_s_max, self.abort)

    def abort(self) -> None:
        """Drops the connection and what it had to say."""
        if self.transport is not None:
            self.transport.abort()

    # ---- keepalive

    def _keep_alive(self) -> None:
        """Pings after `keepalive_s` of silence, and gives up on a peer that does not answer in time."""
        if self.lost:
            return
        silent_s = self.loop.time() - self._heard_s
        if self._ping_pending:
            self.http2.go_away(self.http2.last_remote_id, ErrorCode.NO_ERROR, b"keepalive timeout")
            self.flush()
            self.abort()
            return
        if silent_s + 0.001 < self._keepalive_s:
            delay_s = self._keepalive_s - silent_s
        else:
            self._ping_pending = True
            self.http2.ping(KEEPALIVE_PING)
            self.keepalives_sent += 1
            self.flush()
            delay_s = self._keepalive_timeout_s
        self._keepalive_timer = self.loop.call_later(delay_s, self._keep_alive)

    # ---- for the roles

    def _dispatch(self, events: list[Event]) -> None:
        raise NotImplementedError

    def writable(self) -> None:
        """The transport has room again."""
        raise NotImplementedError

    def ended(self, error: Exception | None) -> None:
        """The connection is lost."""
        raise NotImplementedError
