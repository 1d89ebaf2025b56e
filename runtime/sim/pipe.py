"""One direction of a connection: bytes in order, each exactly once, or else a reset."""

import errno
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from runtime.sim.link import Link
from runtime.sim.trace import Event

if TYPE_CHECKING:
    from runtime.sim.net import SimNet
    from runtime.sim.transport import SimTransport

ACK_RETRY_S = 0.2
"""How often acknowledgements are tried while the way back is blocked."""


class Mark(Enum):
    """A segment without bytes."""

    FIN = 1
    RST = 2


class Pipe:
    """What one end has sent and the other has not received yet. Kernels and wires, no process: it outlives both."""

    __slots__ = (
        "_ack_pending",
        "_armed",
        "_back",
        "_last_due_s",
        "_link",
        "_net",
        "_segments",
        "_source",
        "_stalls",
        "in_flight_bytes",
        "number",
        "stalled_at_s",
        "target",
    )

    def __init__(self, net: "SimNet", link: Link, back: Link, source: "SimTransport", target: "SimTransport") -> None:
        self.number = net.next_pipe_number()
        self._net = net
        self._link = link
        self._back = back
        self._source = source
        self.target = target
        self._segments: deque[tuple[float, bytes | Mark]] = deque()
        self._last_due_s = 0.0
        self._armed = False
        self._ack_pending = False
        self._stalls = 0
        self.stalled_at_s: float | None = None
        """Since when nothing arrives, None when it does."""
        self.in_flight_bytes = 0
        """Sent and not yet read by the other side's process; bounded by the window."""

    def send(self, payload: bytes | Mark) -> None:
        """Puts a segment on its way, behind all that was sent before."""
        net = self._net
        size = 0
        if payload.__class__ is bytes:
            size = len(payload)
            self.in_flight_bytes += size
            net.counters.messages += 1
            net.counters.bytes += size
            if (log := net.loop.trace.log) is not None:
                source, target = self._source.host.name, self.target.host.name
                log.append(Event(net.loop.virtual_s, source, "sends", target, self.number, size))
        due_s = self._link.arrival_s(net.loop.virtual_s, size)
        if due_s < self._last_due_s:
            due_s = self._last_due_s
        self._last_due_s = due_s
        self._segments.append((due_s, payload))
        if not self._armed and self.stalled_at_s is None:
            self._arm(due_s)

    def drop_in_flight(self) -> None:
        """Loses what is on its way: the sender's machine is gone, or the connection is."""
        self._segments.clear()

    def read(self, size: int) -> None:
        """The receiving process took so many bytes: the window opens once the sender hears of it."""
        self.in_flight_bytes -= size
        if not self._ack_pending and self._source.wants_room:
            self._ack_pending = True
            self._net.at(self._back.arrival_s(self._net.loop.virtual_s, 0), self._acknowledge)

    @property
    def blocked(self) -> bool:
        """Whether nothing arrives: the link is blocked, or nobody is there to receive."""
        return self._link.blocked or not self.target.host.powered

    def release(self) -> None:
        """The blockade is gone: goes on after a moment."""
        assert self.stalled_at_s is not None
        now_s = self._net.loop.virtual_s
        stalled_s = now_s - self.stalled_at_s
        self.stalled_at_s = None
        self._armed = True
        self._net.at(now_s + self._link.retransmission_s(stalled_s), self._arrive)

    def _arm(self, due_s: float) -> None:
        self._armed = True
        self._net.at(due_s, self._arrive)

    def _arrive(self) -> None:
        self._armed = False
        segments = self._segments
        if not segments:
            return
        if self.blocked:
            self._stall()
            return
        net, target = self._net, self.target
        now_s = net.loop.virtual_s
        pieces: list[bytes] = []
        while segments and segments[0][0] <= now_s:
            payload = segments.popleft()[1]
            if isinstance(payload, bytes):
                pieces.append(payload)
                continue
            self._hand_over(pieces)
            pieces = []
            net.loop.trace.mix(self.number, payload.value)
            target.take_mark(payload)
        self._hand_over(pieces)
        if segments and not self._armed:
            self._arm(max(now_s, segments[0][0]))

    def _hand_over(self, pieces: list[bytes]) -> None:
        if pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            loop = self._net.loop
            loop.trace.mix_bytes(data, self.number)
            if (log := loop.trace.log) is not None:
                source, target = self._source.host.name, self.target.host.name
                log.append(Event(loop.virtual_s, target, "takes", source, self.number, len(data)))
            self.target.take(data)

    def _acknowledge(self) -> None:
        if self._back.blocked:
            self._net.at(self._net.loop.virtual_s + ACK_RETRY_S, self._acknowledge)
            return
        self._ack_pending = False
        self._source.room_made()

    def _stall(self) -> None:
        net = self._net
        self.stalled_at_s = net.loop.virtual_s
        net.stalled[self] = None
        self._stalls += 1
        net.at(net.loop.virtual_s + net.options.user_timeout_s, self._give_up, self._stalls)

    def _give_up(self, stall: int) -> None:
        if self.stalled_at_s is None or self._stalls != stall:
            return
        self._segments.clear()
        self.stalled_at_s = None
        self._net.stalled.pop(self, None)
        self._source.broken(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))
