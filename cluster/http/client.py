"""One HTTP/1.1 request on a connection of its own.

Made for probing strangers: every byte that is read is bounded, redirects are handed back and not followed, and
nothing that a caller gives can break out of its line. Connections are not kept: a probe is to find out whether one can
be opened.
"""

import asyncio
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from cluster.http.reply import BadReply, Reply, ReplyLimits, ReplyParser
from cluster.http.url import Url
from runtime import Net

HEADERS_MAX = 64
HEADER_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 1024 * 1024
USER_AGENT = "orrery/1"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_FORBIDDEN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = frozenset({"connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"})
"""Fields that say how the message is framed: two of them in one request is how requests are smuggled."""
_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})


class FetchFailed(Exception):
    """There is no reply; the message says why, and is fit for showing."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request that can be sent: what it was made of has been looked at."""

    url: Url
    method: str
    raw: bytes
    """Head and body as they are sent."""


def make_request(url: Url, method: str = "GET", headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> Outgoing:
    """Writes a request. Raises ValueError that names what cannot be sent.

    `headers` may set anything but what frames the message; Host, User-Agent and Accept have defaults.
    """
    if not _TOKEN.fullmatch(method) or method.upper() == "CONNECT":
        raise ValueError(f"{method!r} is no method that can be used here")
    if len(headers) > HEADERS_MAX:
        raise ValueError(f"there are more than {HEADERS_MAX} headers")
    if len(body) > BODY_BYTES_MAX:
        raise ValueError(f"the body is larger than {BODY_BYTES_MAX} bytes")
    fields = {"host": "", "user-agent": f"User-Agent: {USER_AGENT}", "accept": "Accept: */*"}
    fields["host"] = f"Host: {url.authority}"
    lines = []
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"the header name {name!r} is malformed")
        if name.lower() in _OURS:
            raise ValueError(f"the header {name} is set by the client itself")
        if _FORBIDDEN_VALUE.search(value):
            raise ValueError(f"the header {name} has control characters in it")
        line = f"{name}: {value.strip()}"
        if name.lower() in fields:
            fields[name.lower()] = line
        else:
            lines.append(line)
    if body or method.upper() in _WITH_LENGTH:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join((f"{method} {url.target} HTTP/1.1", *fields.values(), *lines, "Connection: close", "", ""))
    try:
        raw = head.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError("a header has characters beyond Latin-1 in it") from error
    if len(raw) > HEADER_BYTES_MAX:
        raise ValueError(f"the headers take more than {HEADER_BYTES_MAX} bytes")
    return Outgoing(url, method, raw + body)


async def fetch(
    net: Net,
    request: Outgoing,
    *,
    within_s: float,
    limits: ReplyLimits,
    tls: ssl.SSLContext | None = None,
) -> Reply:
    """Sends a request and reads the reply, all within `within_s` seconds. Raises FetchFailed.

    `tls` is what an https URL is opened with, its host being the name that is verified.
    """
    url = request.url
    secure = url.scheme == "https"
    if secure and tls is None:
        raise FetchFailed("https needs TLS, which is not set up here")
    exchanges: list[_Exchange] = []

    def make() -> _Exchange:
        exchange = _Exchange(ReplyParser(limits, method=request.method), secure=secure)
        exchanges.append(exchange)
        return exchange

    try:
        async with asyncio.timeout(within_s):
            _, protocol = await net.connect(
                make, url.host, url.port, tls=tls if secure else None, server_hostname=url.host if secure else None
            )
            return await cast("_Exchange", protocol).exchange(request.raw)
    except TimeoutError as error:
        raise FetchFailed(f"{_progress(exchanges)} within {within_s:g} s") from error
    except BadReply as error:
        raise FetchFailed(str(error)) from error
    except (OSError, ValueError) as error:
        # ValueError: a name that DNS could not have (UnicodeError), or a certificate's fault, by ssl's hierarchy.
        raise FetchFailed(f"{'TLS' if isinstance(error, ssl.SSLError) else 'connection'} failed: {error}") from error
    finally:
        for exchange in exchanges:
            exchange.abort()


def _progress(exchanges: "Sequence[_Exchange]") -> str:
    for exchange in exchanges:
        if exchange.parser.status is not None:
            return f"status {exchange.parser.status}, and no end of the body"
        if exchange.parser.has_begun:
            return "no end of the header"
        if exchange.is_open:
            return "no reply"
    return "no connection"


class _Exchange(asyncio.Protocol):
    """The one request of a connection and its reply."""

    def __init__(self, parser: ReplyParser, *, secure: bool) -> None:
        self.parser = parser
        self.is_open = False
        self._secure = secure
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    async def exchange(self, raw: bytes) -> Reply:
        assert self._transport is not None
        if not self._reply.done():
            self._transport.write(raw)
        return await self._reply

    def abort(self) -> None:
        """Ends the connection: nothing that is still to come is of interest."""
        transport = self._transport
        if transport is not None:
            reply = self.parser.reply
            if reply is None or reply.is_cut or self._secure or transport.get_write_buffer_size():
                transport.abort()  # TLS would wait for the peer's goodbye
            else:
                transport.close()  # and no reset, which servers write into their logs
        if self._reply.done() and not self._reply.cancelled():
            self._reply.exception()  # looked at: whoever gave up does not read it
        self._reply.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if not self._reply.done():
            try:
                self.parser.feed(data)
            except BadReply as error:
                self._reply.set_exception(error)
            self._finish()

    def eof_received(self) -> bool:
        self._ended()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not self._reply.done():
            self._reply.set_exception(BadReply(f"the connection broke: {error}"))
        self._ended()

    def _ended(self) -> None:
        if not self._reply.done():
            try:
                self.parser.feed_eof()
            except BadReply as error:
                self._reply.set_exception(error)
            self._finish()

    def _finish(self) -> None:
        if self.parser.reply is not None and not self._reply.done():
            self._reply.set_result(self.parser.reply)
