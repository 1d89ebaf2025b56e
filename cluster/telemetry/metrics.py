"""The registry of a process, and what every process measures of itself."""

import asyncio

from prometheus_client import CollectorRegistry, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client import Info as InfoMetric

from cluster.telemetry.report import VERSION

LAG_SAMPLE_S = 0.5
"""Seconds between two samples of the event loop's lag: one wakeup, a few microseconds."""
_LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


def process_registry(service: str = "", node: str = "") -> CollectorRegistry:
    """A registry of its own with cpu, memory, descriptors, start time, garbage collection and the build.

    Not prometheus_client's global one: a test or a simulated cluster has many processes in one interpreter.
    The names are those that Prometheus clients agree on: `process_cpu_seconds_total`, `process_resident_memory_bytes`,
    `process_open_fds`, `process_start_time_seconds`, `python_gc_collections_total`.
    """
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    build = InfoMetric("orrery_build", "The version that runs, and as what.", registry=registry)
    build.info({"version": VERSION, "service": service, "node": node})
    return registry


class LoopLag:
    """Measures how late the event loop runs what is due: the delay that every request of this process suffers.

    A callback is timed for a known moment and compares it with when it runs.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._histogram = Histogram(
            "orrery_event_loop_lag_seconds",
            "Seconds between the moment a timer is due and the moment it runs.",
            buckets=_LAG_BUCKETS_S,
            registry=registry,
        )
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins sampling on the running loop."""
        self._schedule(asyncio.get_running_loop())

    def stop(self) -> None:
        """Ends sampling. Harmless when it never began."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        due_s = loop.time() + LAG_SAMPLE_S
        self._handle = loop.call_at(due_s, self._sample, loop, due_s)

    def _sample(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        # The loops round their timers to a millisecond, and may so run one a little early.
        self._histogram.observe(max(0.0, loop.time() - due_s))
        self._schedule(loop)
