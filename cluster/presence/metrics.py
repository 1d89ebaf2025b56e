"""What `/metrics` tells of a process's own registration."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cluster.clients.registry import Registration


class RegistrationMetrics(Collector):
    """Reads the registration when it is asked."""

    def __init__(self, registry: CollectorRegistry, registration: Registration) -> None:
        self._registration = registration
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        registration = self._registration
        yield GaugeMetricFamily(
            "orrery_registration_registered",
            "Whether the registry has this process, as far as it knows.",
            value=float(registration.is_registered),
        )
        yield CounterMetricFamily(
            "orrery_registration_registrations",
            "Times that it was registered: more than one says that it was forgotten.",
            value=float(registration.registrations),
        )
        yield CounterMetricFamily(
            "orrery_registration_failures",
            "Attempts at calls to the registry that failed.",
            value=float(registration.failures),
        )
