"""What is measured of the checks. Counting costs an addition; samples are made when somebody asks."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from services.registry.domain import CheckKind, Health

PROBE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Distribution:
    """How many lay within each of PROBE_BUCKETS_S."""

    def __init__(self) -> None:
        self.counts = [0] * (len(PROBE_BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(PROBE_BUCKETS_S, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus takes them: each counts those below it, too."""
        total = 0
        found: list[tuple[str, float]] = []
        for bound, count in zip((*PROBE_BUCKETS_S, float("inf")), self.counts, strict=True):
            total += count
            found.append(("+Inf" if bound == float("inf") else str(bound), total))
        return found


class CheckCounters:
    """What was counted since the start."""

    def __init__(self) -> None:
        self.probes: Counter[tuple[CheckKind, Health]] = Counter()
        self.probe_faults = 0
        """Probes that failed by an error of ours."""
        self.flips: Counter[tuple[CheckKind, Health]] = Counter()
        """States that this process wrote, by what they say."""
        self.holds = 0
        """Of those, checks that were held critical since they flap."""
        self.held_back = 0
        """Turns to critical that self-preservation did not believe at once."""
        self.reaped = 0
        """Instances and nodes that were taken away."""
        self.writes_lost = 0
        """Writes that came behind somebody else's, and were considered anew."""
        self.writes_unavailable = 0
        self.lateness = Distribution()
        """Seconds between the moment a probe is due and its start."""
        self.durations: dict[CheckKind, Distribution] = {}
        """Seconds that probes took."""

    def probed(self, kind: CheckKind, health: Health, seconds: float) -> None:
        """A probe ended."""
        self.probes[kind, health] += 1
        distribution = self.durations.get(kind)
        if distribution is None:
            distribution = self.durations[kind] = Distribution()
        distribution.add(seconds)


class CheckMetrics(Collector):
    """A collector over the counters."""

    def __init__(
        self,
        registry: CollectorRegistry,
        counters: CheckCounters,
        *,
        owned: Callable[[], int],
        held_back: Callable[[], int],
        skipped: Callable[[], int],
    ) -> None:
        self._counters = counters
        self._owned = owned
        self._held_back = held_back
        self._skipped = skipped
        registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: registering must not depend on what has run."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All samples."""
        counters = self._counters
        probes = CounterMetricFamily("orrery_registry_probes", "Probes that ended.", labels=("kind", "result"))
        for (kind, health), count in counters.probes.items():
            probes.add_metric([kind.value, health.value], count)
        yield probes
        flips = CounterMetricFamily(
            "orrery_registry_flips", "States of checks that this process wrote.", labels=("kind", "health")
        )
        for (kind, health), count in counters.flips.items():
            flips.add_metric([kind.value, health.value], count)
        yield flips
        for name, text, value in (
            ("orrery_registry_probe_faults", "Probes that failed by an error of ours.", counters.probe_faults),
            ("orrery_registry_probes_skipped", "Probes left out since one before was late.", self._skipped()),
            ("orrery_registry_flap_holds", "Checks held critical since they flap.", counters.holds),
            ("orrery_registry_flips_not_believed", "Turns held back, since too many came.", counters.held_back),
            ("orrery_registry_reaped", "Instances and nodes taken away after their time.", counters.reaped),
            ("orrery_registry_state_writes_lost", "Writes of states behind somebody else's.", counters.writes_lost),
            (
                "orrery_registry_state_writes_unavailable",
                "Writes of states that kv did not answer.",
                counters.writes_unavailable,
            ),
        ):
            yield CounterMetricFamily(name, text, value=value)
        held_back = self._held_back()
        for name, text, level in (
            ("orrery_registry_checks_owned", "Checks that this process looks after.", float(self._owned())),
            ("orrery_registry_flips_held_back", "Turns to critical held back now.", float(held_back)),
            ("orrery_registry_self_preservation", "1 while turns are held back.", float(held_back > 0)),
        ):
            yield GaugeMetricFamily(name, text, value=level)
        yield HistogramMetricFamily(
            "orrery_registry_probe_lateness_seconds",
            "Seconds between the moment a probe is due and its start.",
            buckets=counters.lateness.buckets(),
            sum_value=counters.lateness.sum_s,
        )
        durations = HistogramMetricFamily(
            "orrery_registry_probe_duration_seconds", "Seconds that probes took.", labels=("kind",)
        )
        for kind, distribution in counters.durations.items():
            durations.add_metric([kind.value], distribution.buckets(), distribution.sum_s)
        yield durations
