"""What a lock process measures. Counting costs an addition; samples are made when somebody asks."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

WAIT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)


class Counters:
    """What was counted since the start."""

    def __init__(self) -> None:
        self.acquires: Counter[tuple[str, str]] = Counter()
        """By mode and outcome: granted, timed_out, refused."""
        self.handovers = 0
        """Grants that were waited for."""
        self.watch_events = 0
        """Changes of queues that kv told this process."""
        self.losses: Counter[str] = Counter()
        self.forced = 0
        self.releases = 0
        self.holders = 0
        """Grants of this process's sessions now."""
        self.sessions = 0
        """Sessions whose stream is here now."""
        self.waits = [0] * (len(WAIT_BUCKETS_S) + 1)
        self.waits_sum_s = 0.0

    def waited(self, seconds: float) -> None:
        """A grant came after this long."""
        self.waits[bisect_left(WAIT_BUCKETS_S, seconds)] += 1
        self.waits_sum_s += seconds


class LockMetrics(Collector):
    """A collector over the counters."""

    def __init__(
        self,
        registry: CollectorRegistry,
        counters: Counters,
        *,
        waiting: Callable[[], int],
        views: Callable[[], int],
        kv_failures: Callable[[], int],
    ) -> None:
        self._counters = counters
        self._waiting = waiting
        self._views = views
        self._kv_failures = kv_failures
        registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: registering must not depend on what has run."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All samples."""
        counters = self._counters
        acquires = CounterMetricFamily(
            "orrery_lock_acquires", "Requests for a lock, by what became of them.", labels=("mode", "outcome")
        )
        for (mode, outcome), count in counters.acquires.items():
            acquires.add_metric([mode, outcome], count)
        yield acquires
        losses = CounterMetricFamily("orrery_lock_losses", "Grants that ended without a release.", labels=("reason",))
        for reason, count in counters.losses.items():
            losses.add_metric([reason], count)
        yield losses
        for name, text, value in (
            ("orrery_lock_handovers", "Grants that were waited for.", counters.handovers),
            ("orrery_lock_releases", "Grants that were given back.", counters.releases),
            ("orrery_lock_forced_releases", "Locks taken by operators here.", counters.forced),
            ("orrery_lock_watch_events", "Changes of queues that kv told this process.", counters.watch_events),
            ("orrery_lock_kv_failures", "Attempts of calls to kv that failed.", self._kv_failures()),
        ):
            yield CounterMetricFamily(name, text, value=value)
        for name, text, value in (
            ("orrery_lock_sessions", "Sessions whose stream is here.", counters.sessions),
            ("orrery_lock_holders", "Grants of sessions here.", counters.holders),
            ("orrery_lock_waiters", "Places of sessions here that wait.", self._waiting()),
            ("orrery_lock_views", "Locks whose queue is followed.", self._views()),
        ):
            yield GaugeMetricFamily(name, text, value=float(value))
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*WAIT_BUCKETS_S, float("inf")), counters.waits, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
        yield HistogramMetricFamily(
            "orrery_lock_wait_seconds",
            "Seconds between the request for a lock and its grant.",
            buckets=buckets,
            sum_value=counters.waits_sum_s,
        )
