"""DNS from the catalogue: `DnsServer` over `DnsSection`; `DnsMetrics` shows what it counts."""

from services.registry.dns.config import DnsSection
from services.registry.dns.counting import DnsCounters
from services.registry.dns.metrics import DnsMetrics
from services.registry.dns.server import DnsServer

__all__ = ["DnsCounters", "DnsMetrics", "DnsSection", "DnsServer"]
