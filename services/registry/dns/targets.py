"""Addresses of instances and nodes, and the names that SRV records give them. Pure, and remembered."""

from functools import lru_cache
from ipaddress import ip_address

from services.registry.dns.name import join_name, parse_text

REMEMBERED_MAX = 16_384
"""Addresses and names of which the parsed form is kept: about 300 bytes each."""


@lru_cache(REMEMBERED_MAX)
def parse_ip(text: str) -> bytes | None:
    """The address as 4 or 16 bytes; None when it is a name, or has a zone, which nobody else could use.

    Bytes, since the address objects of the standard library take microseconds to be compared and written.
    """
    try:
        ip = ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else ip.packed


@lru_cache(REMEMBERED_MAX)
def parse_host(text: str) -> bytes | None:
    """A host's name on the wire; None when it is none."""
    try:
        name = parse_text(text)
    except ValueError:
        return None
    return name if len(name) > 1 else None


@lru_cache(REMEMBERED_MAX)
def node_name(node: str, suffix: bytes) -> bytes | None:
    """`<node>` before `suffix` on the wire; None when it cannot be written as a name."""
    try:
        return join_name([label.encode() for label in node.split(".")])[:-1] + suffix if _fits(node, suffix) else None
    except ValueError:
        return None


def _fits(node: str, suffix: bytes) -> bool:
    return len(node.encode("utf-8", "replace")) + 1 + len(suffix) <= 255


def address_name(packed: bytes, suffix: bytes) -> bytes:
    """`<hex>` before `suffix` on the wire: a name for an address that has none."""
    digits = packed.hex().encode()
    return bytes((len(digits),)) + digits + suffix
