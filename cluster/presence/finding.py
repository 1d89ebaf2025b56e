"""Where the processes of the registry are, by what members say of themselves."""

import re
from collections.abc import Iterable
from ipaddress import ip_address

from cluster.http.address import split_address
from cluster.membership.driver import MemberView

REGISTRY = "registry"
"""The service whose members are processes of the registry, and the protocol under which they say where."""
HOST_CHARACTERS_MAX = 253
_HOST_NAME = re.compile(
    r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)
"""RFC 1123, section 2.1, and underscores, which names of containers may have."""


def registries(members: Iterable[MemberView]) -> list[str]:
    """The `host:port` of each, in the order of the members. What is no address of a host is left out.

    What a member says is from outside, so it must not reach a resolver that would choke on it.
    """
    said = [view.metadata.endpoints.get(REGISTRY, "") for view in members if view.metadata.service == REGISTRY]
    return [address for address in said if is_address(address)]


def is_address(text: str) -> bool:
    """Whether it is `host:port` with a number or name for a host, and a port that can be connected to."""
    try:
        host, port = split_address(text)
    except ValueError:
        return False
    return (
        port > 0 and len(host) <= HOST_CHARACTERS_MAX and (_is_number(host) or _HOST_NAME.fullmatch(host) is not None)
    )


def _is_number(host: str) -> bool:
    if "%" in host:
        return False  # an interface of somebody else's machine
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
