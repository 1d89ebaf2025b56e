"""Targets of channels and addresses of ports, in the forms that gRPC's naming document gives."""

DEFAULT_PORT = 443
ADDRESSES_MAX = 64


def split_host_port(address: str) -> tuple[str, int]:
    """`host:port`, `[v6]:port` or `host` as a pair. Raises ValueError."""
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"not an address: {address!r}")
        port = rest[1:]
    elif address.count(":") > 1:
        host, port = address, ""
    else:
        host, _, port = address.partition(":")
    if port and not (port.isdigit() and int(port) < 65_536):
        raise ValueError(f"not a port: {address!r}")
    return host, int(port) if port else DEFAULT_PORT


def parse_target(target: str) -> list[tuple[str, int]]:
    """The addresses that a channel's target names, in the order in which they are tried.

    `host:port`, `dns:host:port`, `dns:///host:port`, and lists: `ipv4:1.2.3.4:80,1.2.3.5:80`, `ipv6:[::1]:80`.
    Names are resolved by `runtime.Net`, each time that the channel connects. Raises ValueError.
    """
    scheme, separator, rest = target.partition(":")
    if separator and scheme in ("dns", "ipv4", "ipv6"):
        if rest.startswith("//"):
            _, _, rest = rest[2:].partition("/")
        if not rest:
            raise ValueError(f"not a target: {target!r}")
        parts = rest.split(",")
    elif separator and rest.startswith("//"):
        raise ValueError(f"targets of scheme {scheme!r} are not served: {target!r}")
    else:
        parts = target.split(",")
    if not 0 < len(parts) <= ADDRESSES_MAX:
        raise ValueError(f"a target of {len(parts)} addresses")
    addresses = [split_host_port(part) for part in parts]
    if not all(host for host, _ in addresses):
        raise ValueError(f"not a target: {target!r}")
    return addresses
