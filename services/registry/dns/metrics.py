"""The counters of the DNS servers, for Prometheus. Samples are made when somebody asks."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from services.registry.dns.codes import RCODE_NAMES, TYPE_NAMES
from services.registry.dns.counting import SECONDS_BUCKETS, DnsCounters, Protocol


class DnsMetrics(Collector):
    """A collector over the counters."""

    def __init__(self, registry: CollectorRegistry, counters: DnsCounters) -> None:
        self._counters = counters
        registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: registering must not depend on what has run."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All samples."""
        counters = self._counters
        answers = CounterMetricFamily(
            "orrery_registry_dns_answers", "Answers, by type, rcode and protocol.", labels=("type", "rcode", "protocol")
        )
        for protocol, counted in ((Protocol.UDP, counters.udp_answers), (Protocol.TCP, counters.tcp_answers)):
            for (record_type, rcode), count in sorted(counted.items()):
                answers.add_metric((TYPE_NAMES.get(record_type, "other"), RCODE_NAMES[rcode], protocol.value), count)
        yield answers
        dropped = CounterMetricFamily(
            "orrery_registry_dns_dropped", "What was not answered, by why.", labels=("reason",)
        )
        for reason, count in sorted(counters.dropped.items()):
            dropped.add_metric((reason.value,), count)
        yield dropped
        for name, text, value in (
            ("truncated", "Answers that did not fit, and said so.", counters.truncated),
            ("stale", "Answers given while kv was away.", counters.stale),
            ("plans", "Answers that had to be put together anew.", counters.plans),
            ("bytes_received", "Bytes of questions.", counters.bytes_received),
            ("bytes_sent", "Bytes of answers.", counters.bytes_sent),
        ):
            yield CounterMetricFamily(f"orrery_registry_dns_{name}", text, value=value)
        yield GaugeMetricFamily(
            "orrery_registry_dns_connections", "Open TCP connections.", value=float(counters.connections)
        )
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*SECONDS_BUCKETS, float("inf")), counters.buckets, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
        yield HistogramMetricFamily(
            "orrery_registry_dns_seconds",
            "Seconds from reading a question to having its answer.",
            buckets=buckets,
            sum_value=counters.seconds,
        )
