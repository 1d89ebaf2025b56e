"""Addresses as configuration and URLs write them: `host:port`, with IPv6 hosts in brackets."""

PORT_MAX = 65_535


def split_address(address: str) -> tuple[str, int]:
    """Splits `host:port` or `[host]:port`. Raises ValueError that names the address and what is wrong with it."""
    host, colon, digits = address.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{address!r} is not of the form host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{address!r}: an IPv6 host is written in brackets, [::1]:2379")
    if not (digits.isascii() and digits.isdigit()) or int(digits) > PORT_MAX:
        raise ValueError(f"{address!r}: the port must be a number from 0 to {PORT_MAX}")
    return host, int(digits)


def join_address(host: str, port: int) -> str:
    """The opposite of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
