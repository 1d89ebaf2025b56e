"""What a handler gets and gives."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import unquote


class HttpError(Exception):
    """A handler raises it to answer with an error status and a line of text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Headers:
    """A request's header fields in the order of arrival; names are lower case, values are Latin-1 (RFC 9110, 5.5)."""

    __slots__ = ("fields",)

    def __init__(self, fields: Sequence[tuple[str, str]] = ()) -> None:
        self.fields = fields

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first field of that name (given in lower case), or `default`. Linear in the number of fields."""
        for field_name, value in self.fields:
            if field_name == name:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        """All fields of that name (given in lower case), in the order of arrival."""
        return [value for field_name, value in self.fields if field_name == name]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request: its body has been received."""

    method: str
    """As sent, e.g. `GET`."""
    target: str
    """The request target as sent: path and query, still percent-encoded."""
    headers: Headers
    body: bytes
    version: str
    """`1.0` or `1.1`."""
    peer: str = ""
    """The other end as `host:port`, or empty when the transport does not say."""

    @property
    def path(self) -> str:
        """The target's path, percent-decoded; what is not UTF-8 becomes U+FFFD."""
        path = self.target.partition("?")[0]
        return unquote(path) if "%" in path else path

    @property
    def query(self) -> str:
        """What follows the question mark, still encoded; empty without one."""
        return self.target.partition("?")[2]


@dataclass(frozen=True, slots=True)
class Response:
    """One response. A body that is an iterator is sent in chunks as its parts come (RFC 9112, 7.1)."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Sequence[tuple[str, str]] = field(default=())
    """Further fields. Length, encoding, connection and date are the connection's business."""


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
