"""Bytes into requests, with limits.

llhttp (through httptools) does the grammar, strictly: what could be read in two ways, such as a length beside an
encoding, is refused. It bounds nothing by itself, so this file counts. A fault is remembered, not raised: an exception
out of a callback would reach us wrapped, and the bytes behind it are of no interest any more.
"""

from collections.abc import Callable

import httptools

from cluster.http.limits import Limits
from cluster.http.message import Headers, HttpError, Request


class RequestParser:
    """Takes the bytes of one connection in order and hands each finished request to `on_request`."""

    def __init__(
        self,
        limits: Limits,
        on_request: Callable[[Request, bool], None],
        on_continue: Callable[[], None],
        peer: str = "",
    ) -> None:
        """`on_request` gets the request and whether the connection may live on after it.

        `on_continue` is called when the client waits for leave to send its body (RFC 9110, 10.1.1).
        """
        self._limits = limits
        self._on_request = on_request
        self._on_continue = on_continue
        self._peer = peer
        self._parser = httptools.HttpRequestParser(self)
        self._fault: HttpError | None = None
        self._ended = False
        self._receiving = False
        self._in_head = False
        self._unparsed_bytes = 0
        self._reset()

    @property
    def receiving(self) -> bool:
        """Whether a request has begun and not ended."""
        return self._receiving

    def feed(self, data: bytes) -> None:
        """Parses what arrived. Raises HttpError once the connection cannot be understood or passed a limit."""
        if self._ended:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing to upgrade to here: the request was handed on, and the server may ignore the offer. What follows
            # is in a protocol that we did not agree to.
            self._ended = True
        except httptools.HttpParserError as error:
            raise self._fault or HttpError(400, f"malformed request: {error}") from error
        if self._fault is not None:
            raise self._fault
        # llhttp buffers an unfinished field without telling: the bytes fed since the head began are what bounds it.
        self._unparsed_bytes = self._unparsed_bytes + len(data) if self._in_head else 0
        if self._unparsed_bytes > self._limits.header_bytes_max:
            raise HttpError(431, "the request's header is too large")

    def _reset(self) -> None:
        self._target_parts: list[bytes] = []
        self._target_bytes = 0
        self._fields: list[tuple[str, str]] = []
        self._header_bytes = 0
        self._body_parts: list[bytes] = []
        self._body_bytes = 0

    def _fail(self, status: int, message: str) -> None:
        if self._fault is None:
            self._fault = HttpError(status, message)

    def on_message_begin(self) -> None:
        """Called by the parser at a request's first byte."""
        self._reset()
        self._receiving = True
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """Called by the parser with the next part of the target."""
        self._target_bytes += len(url)
        if self._target_bytes > self._limits.target_bytes_max:
            self._fail(414, "the request target is too long")
        elif self._fault is None:
            self._target_parts.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser with each header or trailer field."""
        self._header_bytes += len(name) + len(value) + 4
        if len(self._fields) >= self._limits.headers_max:
            self._fail(431, "the request has too many header fields")
        elif self._header_bytes + self._target_bytes > self._limits.header_bytes_max:
            self._fail(431, "the request's header is too large")
        elif self._fault is None and self._in_head:  # trailers are counted and dropped: none is acted upon
            self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Called by the parser when the head has ended."""
        self._in_head = False
        if self._fault is not None:
            return None
        headers = Headers(self._fields)
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            return self._fail(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        if version == "1.1" and len(headers.get_all("host")) != 1:
            return self._fail(400, "exactly one Host header is required")  # RFC 9112, 3.2
        length = headers.get("content-length", "0")
        if length is not None and length.isdigit() and int(length[:20]) > self._limits.body_bytes_max:
            # Said before the body is sent, for clients that ask first.
            return self._fail(413, f"the request's body is larger than {self._limits.body_bytes_max} bytes")
        if version == "1.1" and (headers.get("expect") or "").lower() == "100-continue":
            self._on_continue()
        return None

    def on_body(self, body: bytes) -> None:
        """Called by the parser with the next part of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes_max:
            self._fail(413, f"the request's body is larger than {self._limits.body_bytes_max} bytes")
            self._body_parts.clear()
        elif self._fault is None:
            self._body_parts.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser when the request has ended."""
        self._receiving = False
        if self._fault is not None:
            return
        parser = self._parser
        request = Request(
            method=parser.get_method().decode("ascii"),
            target=b"".join(self._target_parts).decode("latin-1"),
            headers=Headers(self._fields),
            body=b"".join(self._body_parts),
            version=parser.get_http_version(),
            peer=self._peer,
        )
        lives_on = parser.should_keep_alive() and not parser.should_upgrade()
        self._reset()
        self._on_request(request, lives_on)
