"""Who is answered."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

REMEMBERED_MAX = 4096
"""Addresses whose verdict is remembered. When there are more, all are judged anew: forged senders are without end."""


class Admission:
    """Judges addresses by a list of networks; see `DnsSection.allow_from`."""

    def __init__(self, networks: tuple[IPv4Network | IPv6Network, ...]) -> None:
        self._networks = networks
        self._verdicts: dict[str, bool] = {}

    def allows(self, host: str) -> bool:
        """Whether the sender at `host`, as sockets write it, is answered. O(1) for most."""
        verdict = self._verdicts.get(host)
        if verdict is None:
            if len(self._verdicts) >= REMEMBERED_MAX:
                self._verdicts.clear()
            verdict = self._verdicts[host] = self._judge(host)
        return verdict

    def _judge(self, host: str) -> bool:
        try:
            ip = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self._networks if network.version == ip.version)
