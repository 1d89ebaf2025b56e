"""Responses as bytes (RFC 9112)."""

from datetime import UTC, datetime

from cluster.http.message import Response

REASONS = {
    100: "Continue", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content",
    301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified", 307: "Temporary Redirect",
    308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict", 411: "Length Required",
    412: "Precondition Failed", 413: "Content Too Large", 414: "URI Too Long", 415: "Unsupported Media Type",
    416: "Range Not Satisfiable", 422: "Unprocessable Content", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
    502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}  # fmt: skip
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def http_date(wall_s: float) -> str:
    """An IMF-fixdate (RFC 9110, 5.6.7). Not `strftime`: its names of days follow the locale."""
    at = datetime.fromtimestamp(int(wall_s), UTC)
    return (
        f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year} "
        f"{at.hour:02}:{at.minute:02}:{at.second:02} GMT"
    )


def has_no_body(status: int) -> bool:
    """Whether the status itself forbids a body and a length (RFC 9110, 6.4.1)."""
    return status < 200 or status in (204, 304)


def encode_head(response: Response, date: str, *, length: int | None, chunked: bool, close: bool) -> bytes:
    """The status line and the header fields.

    Raises ValueError when a field would split the response: handlers may put what users sent into headers.
    """
    lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Unknown')}", f"date: {date}"]
    if not has_no_body(response.status):
        lines.append(f"content-type: {response.content_type}")
        if length is not None:
            lines.append(f"content-length: {length}")
        elif chunked:
            lines.append("transfer-encoding: chunked")
    lines.extend(f"{name}: {value}" for name, value in response.headers)
    if close:
        lines.append("connection: close")
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a response header holds a line break")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def encode_chunk(part: bytes) -> bytes:
    """One chunk of a body of unknown length; `part` must not be empty, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(part), part)
