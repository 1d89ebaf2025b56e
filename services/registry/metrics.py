"""What a registry process measures. Counting costs an addition; samples are made when somebody asks."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Counters:
    """What was counted since the start."""

    def __init__(self) -> None:
        self.beats = 0
        self.beats_failed = 0
        self.conflicts = 0
        """Plans that could not be done, since somebody else had changed the same."""
        self.unreadable = 0
        """Records read from kv that could not be understood."""
        self.updates = 0
        """Changes that kv told."""
        self.resets = 0
        """Times that the copy was read anew."""
        self.watchers = 0
        """Streams of changes that are open."""
        self.deltas = 0
        """Messages of changes that were encoded."""
        self.deltas_sent = 0
        """Messages of changes that were handed to watchers."""
        self.overflows = 0
        """Watchers that were too slow, and were given all anew."""


class RegistryMetrics(Collector):
    """A collector over the counters, and over gauges that are read when somebody asks."""

    def __init__(
        self, registry: CollectorRegistry, counters: Counters, gauges: Callable[[], Mapping[str, float]]
    ) -> None:
        """`gauges`: values by the names in GAUGES."""
        self._counters = counters
        self._gauges = gauges
        registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: registering must not depend on what has run."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All samples."""
        counters = self._counters
        for name, text, value in (
            ("beats", "Reports on TTL checks.", counters.beats),
            ("beats_failed", "Reports that were refused, or could not be kept.", counters.beats_failed),
            ("conflicts", "Writes that were planned anew, since others had changed the same.", counters.conflicts),
            ("unreadable_records", "Records read from kv that could not be understood.", counters.unreadable),
            ("kv_updates", "Changes that kv told.", counters.updates),
            ("resets", "Times that everything was read from kv.", counters.resets),
            ("deltas", "Changes that were encoded for watchers.", counters.deltas),
            ("deltas_sent", "Changes that were handed to watchers.", counters.deltas_sent),
            ("watch_overflows", "Watchers that were too slow, and were given all anew.", counters.overflows),
        ):
            yield CounterMetricFamily(f"orrery_registry_{name}", text, value=value)
        gauges = {"watchers": float(counters.watchers), **self._gauges()}
        for name, text in GAUGES.items():
            if name in gauges:
                yield GaugeMetricFamily(f"orrery_registry_{name}", text, value=gauges[name])


GAUGES = {
    "watchers": "Streams of changes that are open.",
    "waiting_queries": "Blocking queries that wait for a change.",
    "services": "Services that have instances.",
    "instances": "Instances.",
    "nodes": "Nodes.",
    "checks": "Checks.",
    "beats_running": "TTL checks whose time runs.",
    "processes": "Processes of the registry that live.",
    "kv_revision": "The revision of kv that the copy has come to.",
    "kv_silence_seconds": "Seconds since kv was heard, when that is too long; 0 otherwise.",
    "kv_failures": "Attempts of calls to kv that failed.",
    "kv_plans": "Writes that were sent to kv, since the start.",
    "kv_transactions": "Transactions in which they went.",
    "records_unreadable": "Records in kv that cannot be understood now.",
}
