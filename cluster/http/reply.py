"""Bytes into the reply to one request, with limits. The counterpart of `parser`, for clients.

llhttp (through httptools) does the grammar. A reply has three ways to end (RFC 9112, 6.3): by itself (no body, a
length, or the last chunk), with the connection, or, here, because enough of its body has been read.
"""

from dataclasses import dataclass

import httptools

from cluster.http.message import Headers


class BadReply(Exception):
    """The peer's fault: what came is no HTTP reply, or not a whole one, or passes a limit."""


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """What is read of a reply."""

    header_bytes_max: int = 32 * 1024
    """Bytes of status lines and header fields together, those of interim replies included."""
    headers_max: int = 100
    interim_max: int = 8
    """Replies of the 1xx kind before the one that counts."""
    body_bytes_max: int = 4 * 1024 * 1024
    """More is not read, and is no error: see `Reply.is_cut`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, with the beginning of its body."""

    status: int
    headers: Headers
    body: bytes
    is_cut: bool
    """The body went on behind `body_bytes_max` bytes, which were not waited for."""


class ReplyParser:
    """Takes the bytes of a connection in order until `reply` is there."""

    def __init__(self, limits: ReplyLimits, *, method: str = "GET") -> None:
        self._limits = limits
        self._bodiless = method == "HEAD"
        self._parser = httptools.HttpResponseParser(self)
        self._fault: str | None = None
        self._interim = 0
        self._head_bytes = 0
        self._field_bytes = 0
        self._head_done = False
        self._fed = False
        self._ends_with_connection = False
        self._fields: list[tuple[str, str]] = []
        self._body_parts: list[bytes] = []
        self._body_bytes = 0
        self.reply: Reply | None = None
        """Once it is there. What arrives then is ignored."""

    @property
    def has_begun(self) -> bool:
        """Whether anything has arrived."""
        return self._fed

    @property
    def status(self) -> int | None:
        """The status, as soon as the head is there."""
        return self._parser.get_status_code() if self._head_done else None

    def feed(self, data: bytes) -> None:
        """Parses what arrived. Raises BadReply."""
        if self.reply is not None:
            return
        self._fed = True
        if not self._head_done:
            self._head_bytes += len(data)  # llhttp buffers unfinished fields, so they are counted here
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._finish(is_cut=False)  # 101: an offer that was never asked for
        except httptools.HttpParserError as error:
            # `reply` is there when only what follows it was wrong. mypy cannot see that callbacks set it.
            if self._replied():
                return
            raise BadReply(self._fault or f"malformed reply: {error}") from error
        if self._fault is not None:
            raise BadReply(self._fault)
        if not self._head_done and self._head_bytes > self._limits.header_bytes_max:
            raise BadReply("the reply's header is too large")

    def feed_eof(self) -> None:
        """The peer has closed. Raises BadReply when the reply is not whole."""
        if self.reply is not None:
            return
        if self._ends_with_connection:
            self._finish(is_cut=False)
        elif self._head_done:
            raise BadReply("the connection was closed within the body")
        elif self._fed:
            raise BadReply("the connection was closed within the header")
        else:
            raise BadReply("the connection was closed without a reply")

    def _replied(self) -> bool:
        return self.reply is not None

    def _finish(self, *, is_cut: bool) -> None:
        if self.reply is None and self._fault is None:
            body = b"".join(self._body_parts)[: self._limits.body_bytes_max]
            self.reply = Reply(self._parser.get_status_code(), Headers(self._fields), body, is_cut)

    def on_message_begin(self) -> None:
        """Called by the parser at a reply's first byte."""
        if self.reply is None:
            self._fields = []
            self._head_done = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser with each header or trailer field."""
        if self._head_done or self._fault is not None:
            return  # trailers are of no use here; they are bounded by what may follow the body
        self._field_bytes += len(name) + len(value)
        if len(self._fields) >= self._limits.headers_max:
            self._fault = "the reply has too many header fields"
        elif self._field_bytes > self._limits.header_bytes_max:
            self._fault = "the reply's header is too large"
        else:
            self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Called by the parser when the head has ended."""
        if self.reply is not None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim += 1
            if self._interim > self._limits.interim_max:
                self._fault = "too many interim replies"
            return
        self._head_done = True
        headers = Headers(self._fields)
        self._ends_with_connection = (
            headers.get("content-length") is None and "chunked" not in (headers.get("transfer-encoding") or "").lower()
        )
        if self._bodiless:
            self._finish(is_cut=False)

    def on_body(self, body: bytes) -> None:
        """Called by the parser with the next part of the body."""
        if self.reply is not None:
            return
        self._body_bytes += len(body)
        self._body_parts.append(body)
        if self._body_bytes > self._limits.body_bytes_max:
            self._finish(is_cut=True)

    def on_message_complete(self) -> None:
        """Called by the parser when the reply has ended."""
        if self._head_done:
            self._finish(is_cut=False)
