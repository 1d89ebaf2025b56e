"""Decides by a connection's first bytes what it speaks, and hands it over (RFC 9113 section 3.3).

HTTP/2 begins with `PRI * HTTP/2.0`, which no HTTP/1.1 request can be. Over TLS the ALPN protocol has decided already,
but the bytes are believed: a client without ALPN may still speak HTTP/2.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from cluster.rpc.http2.frames import PREFACE

DECIDED_BYTES = 4
"""`PRI ` and an HTTP/1.1 method cannot be confused after so many bytes."""


class Sniffer(asyncio.Protocol):
    """The protocol of a connection that has not said anything yet."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        http2: Callable[[], asyncio.Protocol],
        http1: Callable[[], asyncio.Protocol] | None,
        full: bool,
        handshake_s_max: float,
        undecided: "dict[Sniffer, None]",
    ) -> None:
        self._loop = loop
        self._http2 = http2
        self._http1 = http1
        self._full = full
        self._handshake_s_max = handshake_s_max
        self._undecided = undecided
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for the first bytes, but not for ever."""
        self._transport = cast(asyncio.Transport, transport)
        if self._full:
            transport.close()
            return
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            # Such a client may wait for the server's settings before it says anything.
            self._hand_over(self._http2())
            return
        self._undecided[self] = None
        self._timer = self._loop.call_later(self._handshake_s_max, self.close)

    def data_received(self, data: bytes) -> None:
        """Looks at the first bytes."""
        if self._full:
            return
        seen = self._seen + data
        if len(seen) < DECIDED_BYTES and PREFACE.startswith(seen):
            self._seen = seen
            return
        if seen[:DECIDED_BYTES] == PREFACE[:DECIDED_BYTES]:
            protocol = self._http2()
        elif self._http1 is not None:
            protocol = self._http1()
        else:
            self.close()
            return
        self._hand_over(protocol)
        protocol.data_received(seen)

    def eof_received(self) -> bool:
        """It will say nothing."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It left before it said anything."""
        self._done()

    def close(self) -> None:
        """Gives up on the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _hand_over(self, protocol: asyncio.Protocol) -> None:
        self._done()
        transport = self._transport
        assert transport is not None
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def _done(self) -> None:
        self._undecided.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
