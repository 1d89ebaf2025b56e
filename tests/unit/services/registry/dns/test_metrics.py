"""What Prometheus reads."""

from prometheus_client import CollectorRegistry, generate_latest

from services.registry.dns import DnsMetrics
from services.registry.dns.counting import Drop
from tests.unit.services.registry.dns.book import Book


def test_samples() -> None:
    book = Book()
    registry = CollectorRegistry()
    DnsMetrics(registry, book.counters)
    book.node("n1", "10.0.0.1")
    book.ask("n1.node.consul")
    book.ask("n1.node.consul", "TYPE65")
    book.counters.dropped[Drop.IDLE] += 1
    text = generate_latest(registry).decode()
    assert 'orrery_registry_dns_answers_total{protocol="udp",rcode="NOERROR",type="A"} 1.0' in text
    assert 'orrery_registry_dns_answers_total{protocol="udp",rcode="NOERROR",type="other"} 1.0' in text
    assert 'orrery_registry_dns_dropped_total{reason="idle"} 1.0' in text
    assert "orrery_registry_dns_seconds_count 2.0" in text
    assert "orrery_registry_dns_bytes_sent_total" in text
