"""One conversation by a stream: frames there and back, until one side has nothing to say any more.

    frame = length:u32 envelope

Whoever has heard the last word closes. Whatever is wrong with what comes ends the conversation at once, and is counted;
nobody has to be told, since an exchange that did not come about is made up for by the next one.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from cluster.membership.core import limits
from cluster.membership.envelope import SEALED_BYTES

FRAME_BYTES_MAX = limits.STATE_BYTES_MAX + SEALED_BYTES
FRAMES_MAX = 4
"""Frames that one side may send in a conversation; three is the most that the protocol needs."""
LENGTH_BYTES = 4


class Conversation(asyncio.Protocol):
    """Either end. `answer(frame)` gives the next frame to send, or None when all is said; its errors end it."""

    def __init__(
        self,
        answer: Callable[[bytes], bytes | None],
        ended: Callable[["Conversation"], None],
        within_s: float,
        first: bytes | None = None,
    ) -> None:
        self._answer = answer
        self._on_end = ended
        self._within_s = within_s
        self._first = first
        self._received = bytearray()
        self._frames = 0
        self.ended = False
        """Whether the connection is gone."""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins, with the first frame if this side has it."""
        # uvloop's transports have the methods of asyncio.Transport, but are no instances of it.
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(self._within_s, self.abort)
        if self._first is not None:
            self._send(self._first)

    def data_received(self, data: bytes) -> None:
        """Takes frames, one after another."""
        received = self._received
        received += data
        while len(received) >= LENGTH_BYTES and self._transport is not None:
            length = int.from_bytes(received[:LENGTH_BYTES], "big")
            if length > FRAME_BYTES_MAX:
                self.abort()
                return
            end = LENGTH_BYTES + length
            if len(received) < end:
                return
            frame = bytes(received[LENGTH_BYTES:end])
            del received[:end]
            self._frames += 1
            if self._frames > FRAMES_MAX:
                self.abort()
                return
            self._hear(frame)

    def eof_received(self) -> bool:
        """The other side has said all: closes."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self.ended = True
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._on_end(self)

    def abort(self) -> None:
        """Ends it at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def _hear(self, frame: bytes) -> None:
        answer = self._answer(frame)
        if self._transport is None:
            return
        if answer is None:
            self._transport.close()
            self._transport = None
        else:
            self._send(answer)

    def _send(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(len(frame).to_bytes(LENGTH_BYTES, "big") + frame)


class RefusedConversation(asyncio.Protocol):
    """Takes the place of one above the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ends it at once."""
        cast("asyncio.Transport", transport).abort()
