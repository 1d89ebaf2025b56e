"""What a probe is pointed at."""

import ipaddress
from typing import NamedTuple

from cluster.http.address import join_address, split_address
from cluster.http.url import is_host_name

TARGET_BYTES_MAX = 2048


class Target(NamedTuple):
    """An address, and for gRPC the service that is asked for."""

    host: str
    port: int
    service: str = ""

    @property
    def address(self) -> str:
        """`host:port`."""
        return join_address(self.host, self.port)


def parse_target(text: str) -> Target:
    """Reads `host:port` or `host:port/service`. Raises ValueError.

    Stricter than a channel's target: one address, and no scheme.
    """
    if len(text) > TARGET_BYTES_MAX:
        raise ValueError(f"the target is longer than {TARGET_BYTES_MAX} bytes")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("the target has spaces, control characters or letters beyond ASCII in it")
    address, _, service = text.partition("/")
    host, port = split_address(address)
    if text.startswith("["):
        ipaddress.IPv6Address(host)
    elif not is_host_name(host):
        raise ValueError(f"the target's host {host!r} is no name or address")
    if port == 0:
        raise ValueError("the target's port must be from 1 to 65535")
    return Target(host, port, service)
