"""What balanced channels and sources measure. Counting costs an addition; samples are made when somebody asks."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cluster.discovery.channel import BalancedChannel
from cluster.discovery.composite import CompositeSource
from cluster.discovery.eligibility import Reach
from cluster.discovery.registry import RegistrySource
from cluster.discovery.source import Source

ENDPOINTS_LABELLED_MAX = 256
"""Endpoints of one channel that have series of their own; those beyond are in the sums."""


class DiscoveryMetrics(Collector):
    """A collector over the channels and sources that are added to it. Register one for a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._channels: dict[BalancedChannel, None] = {}
        self._sources: dict[RegistrySource, None] = {}
        registry.register(self)

    def add(self, channel: BalancedChannel) -> None:
        """Shows a channel, until it is closed."""
        self._channels[channel] = None

    def add_source(self, source: Source) -> None:
        """Shows what follows the registry in a source; what is only written down has nothing to show."""
        if isinstance(source, RegistrySource):
            self._sources[source] = None
        elif isinstance(source, CompositeSource):
            for part in source.sources:
                self.add_source(part)

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: registering must not depend on what has run."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All samples."""
        for channel in [channel for channel in self._channels if channel.pool.is_closed]:
            del self._channels[channel]
        yield from self._of_endpoints()
        yield from self._of_channels()
        yield from self._of_sources()

    def _of_endpoints(self) -> Iterator[Metric]:
        labels = ("target", "endpoint")
        picks = CounterMetricFamily("orrery_discovery_picks", "Calls sent to an endpoint.", labels=labels)
        failures = CounterMetricFamily(
            "orrery_discovery_failures", "Calls that failed in a way that speaks against the endpoint.", labels=labels
        )
        in_flight = GaugeMetricFamily("orrery_discovery_in_flight", "Calls that run at an endpoint.", labels=labels)
        for channel in self._channels:
            pool = channel.pool
            for target in list(pool.targets.values())[:ENDPOINTS_LABELLED_MAX]:
                names = [pool.options.name, target.address]
                picks.add_metric(names, target.picks)
                failures.add_metric(names, target.failures)
                in_flight.add_metric(names, float(target.in_flight))
        yield from (picks, failures, in_flight)

    def _of_channels(self) -> Iterator[Metric]:
        endpoints = GaugeMetricFamily(
            "orrery_discovery_endpoints",
            "Endpoints of a service: by what is known of the connection, and those that are ejected or get calls.",
            labels=("target", "state"),
        )
        ejections = CounterMetricFamily(
            "orrery_discovery_ejections", "Ejections of endpoints.", labels=("target", "reason")
        )
        for channel in self._channels:
            pool = channel.pool
            name = pool.options.name
            counts = dict.fromkeys(Reach, 0)
            for target in pool.targets.values():
                counts[target.reach] += 1
            for reach, count in counts.items():
                endpoints.add_metric([name, reach.value], float(count))
            endpoints.add_metric([name, "ejected"], float(pool.outliers.ejected))
            endpoints.add_metric([name, "usable"], float(len(pool.choice.usable)))
            for reason, count in pool.outliers.ejections.items():
                ejections.add_metric([name, reason.value], count)
        yield from (endpoints, ejections)
        pools = [channel.pool for channel in self._channels]
        for metric, text, counted in (
            ("resolves", "Sets of endpoints that were told.", [pool.resolves for pool in pools]),
            ("retries", "Calls sent again elsewhere.", [pool.retries for pool in pools]),
            ("retries_refused", "Retries that the budget did not allow.", [pool.budget.exhausted for pool in pools]),
            ("ejections_spared", "Ejections that too many others prevented.", [pool.outliers.spared for pool in pools]),
        ):
            counter = CounterMetricFamily(f"orrery_discovery_{metric}", text, labels=("target",))
            for pool, value in zip(pools, counted, strict=True):
                counter.add_metric([pool.options.name], value)
            yield counter
        for metric, text, now in (
            ("waiting", "Calls that wait for an endpoint.", [pool.waiting for pool in pools]),
            ("panicking", "1 while health is not believed.", [int(pool.choice.is_panicking) for pool in pools]),
        ):
            gauge = GaugeMetricFamily(f"orrery_discovery_{metric}", text, labels=("target",))
            for pool, value in zip(pools, now, strict=True):
                gauge.add_metric([pool.options.name], float(value))
            yield gauge

    def _of_sources(self) -> Iterator[Metric]:
        followed = GaugeMetricFamily(
            "orrery_discovery_followed", "1 while the registry tells of a service.", labels=("target",)
        )
        failures = CounterMetricFamily(
            "orrery_discovery_watch_failures", "Watches of the registry that ended.", labels=("target",)
        )
        doubted = CounterMetricFamily(
            "orrery_discovery_doubted", "Sets of the registry that were not believed at once.", labels=("target",)
        )
        for source in self._sources:
            followed.add_metric([source.service], float(source.is_followed))
            failures.add_metric([source.service], source.failures)
            doubted.add_metric([source.service], source.doubted)
        yield from (followed, failures, doubted)
