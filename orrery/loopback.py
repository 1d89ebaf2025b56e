"""Who can reach an address."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener there. Names other than localhost count as outside."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
