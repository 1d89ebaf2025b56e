"""Absolute URLs of HTTP, strictly (RFC 3986; RFC 9110, 4.2): what could be read in two ways is refused."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import quote

from cluster.http.address import PORT_MAX

URL_BYTES_MAX = 8 * 1024
_SHAPE = re.compile(r"(https?)://([^/?#\\]*)((?:[/?][^#]*)?)(?:#.*)?", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?")
_KEPT = "/?:@!$&'()*+,;=-._~%[]"
"""Characters of paths and queries that stay as they are; all others are percent-encoded."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Url(NamedTuple):
    """The parts that a client needs."""

    scheme: str
    """`http` or `https`."""
    host: str
    """A name, or an address without brackets."""
    port: int
    target: str
    """Path and query as they are sent; the path is at least `/`."""

    @property
    def authority(self) -> str:
        """What the Host field says: without the port where that is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(text: str) -> Url:
    """Reads `http://host[:port][/path][?query]`; a fragment is dropped. Raises ValueError with what is wrong.

    Refused are other schemes, control characters and spaces, names beyond ASCII (they are written in Punycode), and
    credentials (they would end in logs; there is a header for them).
    """
    if len(text) > URL_BYTES_MAX:
        raise ValueError(f"the URL is longer than {URL_BYTES_MAX} bytes")
    if any(character <= " " or "\x7f" <= character <= "\x9f" for character in text):
        raise ValueError("the URL has spaces or control characters in it")
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise ValueError("the URL must begin with http:// or https:// and a host")
    scheme, authority, target = found[1].lower(), found[2], found[3]
    if "@" in authority:
        raise ValueError("the URL has credentials in it: use an Authorization header")
    host, port = _split_authority(authority, _DEFAULT_PORTS[scheme])
    if not target.startswith("/"):
        target = "/" + target
    try:
        target = quote(target, safe=_KEPT)
    except UnicodeEncodeError as error:
        raise ValueError("the URL is not Unicode text") from error
    return Url(scheme, host, port, target)


def is_host_name(text: str) -> bool:
    """Whether this can be a name or an IPv4 address: no brackets, no port, ASCII only."""
    return _NAME.fullmatch(text) is not None


def _split_authority(authority: str, default_port: int) -> tuple[str, int]:
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        try:
            valid = bool(bracket) and "%" not in host and ipaddress.IPv6Address(host) is not None
        except ValueError:
            valid = False
        if not valid or (rest and not rest.startswith(":")):
            raise ValueError(f"the URL's host {authority!r} is no IPv6 address in brackets")
        digits = rest[1:]
    else:
        host, _, digits = authority.partition(":")
        if not is_host_name(host):
            raise ValueError(f"the URL's host {host!r} is no name or address")
    if not digits:
        return host, default_port
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) <= PORT_MAX):
        raise ValueError(f"the URL's port {digits!r} is no number from 1 to {PORT_MAX}")
    return host, int(digits)
