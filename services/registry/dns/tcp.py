"""DNS over TCP (RFC 7766): two bytes of length before each message, many questions on a connection, in any rhythm.

Answers go out in the order of the questions, which is the quickest here, since none of them waits for anything.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from services.registry.dns.codes import HEADER_BYTES
from services.registry.dns.counting import DnsCounters, Drop, Protocol
from services.registry.dns.query import QUERY_BYTES_MAX
from services.registry.dns.responder import Responder

LENGTH_BYTES = 2
ANSWERS_PER_TURN_MAX = 64
"""Questions of one connection that are answered before others have their turn."""
WRITE_BYTES_MAX = 256 << 10
"""Answers that may lie in a connection's buffer; then nothing more is read until its client has taken some."""


class TcpConnection(asyncio.Protocol):
    """One connection. Holds at most what one read brings, beside the answers that wait in its buffer."""

    def __init__(
        self,
        responder: Responder,
        counters: DnsCounters,
        idle_s_max: float,
        on_open: "Callable[[TcpConnection, str], bool]",
        on_lost: "Callable[[TcpConnection], None]",
    ) -> None:
        """`on_open(connection, host)` says whether it may stay."""
        self._responder = responder
        self._counters = counters
        self._idle_s_max = idle_s_max
        self._on_open = on_open
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._is_writable = True
        self._is_reading = True
        self._is_ending = False
        self._turn: asyncio.Handle | None = None
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Is counted, or is one too many."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if not self._on_open(self, str(peer[0]) if peer else ""):
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=WRITE_BYTES_MAX)
        self._touch()

    def data_received(self, data: bytes) -> None:
        """Takes bytes, and answers what is whole."""
        self._received += data
        if self._turn is None:
            self._answer()

    def eof_received(self) -> bool:
        """The client asks nothing more: what it has asked is still answered."""
        self._is_ending = True
        if self._turn is None:
            self._answer()
        return True

    def pause_writing(self) -> None:
        """The client takes its answers too slowly: it is not listened to meanwhile."""
        self._is_writable = False

    def resume_writing(self) -> None:
        """It has taken some."""
        self._is_writable = True
        self._touch()
        if self._turn is None:
            self._answer()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if self._turn is not None:
            self._turn.cancel()
        if self._idle is not None:
            self._idle.cancel()
        self._received.clear()
        self._on_lost(self)

    def close(self) -> None:
        """Ends it; answers that are written already are still sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Ends it at once."""
        if self._transport is not None:
            self._transport.abort()

    def _answer(self) -> None:
        """Answers a turn's worth of what has come."""
        self._turn = None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        received, offset = self._received, 0
        answers: list[bytes] = []
        size_of_answers = 0
        is_more = False
        while len(received) - offset >= LENGTH_BYTES:
            size = received[offset] << 8 | received[offset + 1]
            if not HEADER_BYTES <= size <= QUERY_BYTES_MAX:
                # Nothing after this can be told apart: the next length may be anywhere.
                self._counters.dropped[Drop.FRAME] += 1
                self._flush(transport, answers)
                transport.close()
                return
            end = offset + LENGTH_BYTES + size
            if end > len(received):
                break
            if len(answers) >= ANSWERS_PER_TURN_MAX or size_of_answers >= WRITE_BYTES_MAX or not self._is_writable:
                is_more = True
                break
            response = self._responder.respond(bytes(received[offset + LENGTH_BYTES : end]), Protocol.TCP)
            offset = end
            if response is None:
                # A response came, where only questions may: whoever sends such things is not to be listened to.
                self._flush(transport, answers)
                transport.close()
                return
            answers.append(response)
            size_of_answers += len(response)
        del received[:offset]
        if answers:
            self._touch()
            self._flush(transport, answers)
        self._proceed(transport, is_more=is_more)

    def _proceed(self, transport: asyncio.Transport, *, is_more: bool) -> None:
        """Decides whether to listen, to go on next turn, or to end."""
        if is_more and self._is_writable:
            self._turn = asyncio.get_running_loop().call_soon(self._answer)
        listens = not is_more and self._is_writable and not self._is_ending
        if listens is not self._is_reading:
            self._is_reading = listens
            if listens:
                transport.resume_reading()
            else:
                transport.pause_reading()
        if self._is_ending and not is_more:
            transport.close()

    def _flush(self, transport: asyncio.Transport, answers: list[bytes]) -> None:
        if answers:
            transport.write(b"".join([part for one in answers for part in (len(one).to_bytes(2, "big"), one)]))

    def _touch(self) -> None:
        """Something was done: the time begins anew."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self._idle_s_max, self._expire)

    def _expire(self) -> None:
        """Nothing was asked and nothing taken: bytes that never become a question do not count."""
        self._counters.dropped[Drop.IDLE] += 1
        self.abort()
