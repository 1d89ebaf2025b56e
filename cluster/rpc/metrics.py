"""Server metrics under go-grpc's names, counted by an observer of our own engine.

The same series as `cluster.telemetry.grpc_metrics`, which wraps handlers and works on either engine. Here a call costs
two clock readings and a few integer additions, since Prometheus' own counters take locks: the numbers become samples
only when somebody asks for them.

Series: `grpc_server_started_total`, `grpc_server_handled_total`, `grpc_server_handling_seconds`. Messages of streams
are not counted.
"""

from bisect import bisect_left
from collections.abc import Iterator

import grpc
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from cluster.rpc.grpc.server.call import ServerCall
from cluster.rpc.grpc.server.method import Method
from runtime import Clock

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS_MAX = 1024
"""Methods with series of their own. Methods come from registered servicers, never from callers; this is a backstop."""

_CODE_NAMES = {code: "".join(word.capitalize() for word in code.name.split("_")) for code in grpc.StatusCode}
_CODE_NAMES[grpc.StatusCode.OK] = "OK"
_CODE_NAMES[grpc.StatusCode.CANCELLED] = "Canceled"  # Go's spelling


class _Series:
    """What is counted for one method."""

    __slots__ = ("buckets", "handled", "labels", "seconds", "started")

    def __init__(self, method: Method) -> None:
        service, _, name = method.path.lstrip("/").rpartition("/")
        if method.streams_requests:
            kind = "bidi_stream" if method.streams_responses else "client_stream"
        else:
            kind = "server_stream" if method.streams_responses else "unary"
        self.labels = [kind, service, name]
        self.started = 0
        self.handled: dict[grpc.StatusCode, int] = {}
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS_S) + 1)


class CallMetrics(Collector):
    """An observer for `create_server(observers=...)`, and a collector for `CollectorRegistry.register`."""

    def __init__(self, clock: Clock) -> None:
        self._now_s = clock.monotonic_s
        self._series: dict[str, _Series] = {}

    def call_started(self, call: ServerCall) -> None:
        """Counts a call to a method that exists; others would let callers make up series."""
        method = call.method
        series = self._series.get(method.path)
        if series is None:
            if not method.path or len(self._series) >= METHODS_MAX:
                return
            series = self._series[method.path] = _Series(method)
        series.started += 1
        call.observed_s = self._now_s()

    def call_ended(self, call: ServerCall, code: grpc.StatusCode) -> None:
        """Counts the end."""
        series = self._series.get(call.method.path)
        if series is None:
            return
        took_s = self._now_s() - call.observed_s
        series.handled[code] = series.handled.get(code, 0) + 1
        series.seconds += took_s
        series.buckets[bisect_left(BUCKETS_S, took_s)] += 1

    def describe(self) -> Iterator[Metric]:
        """The families, without samples: registering must not depend on what has run."""
        return iter(self._families())

    def collect(self) -> Iterator[Metric]:
        """The samples of now."""
        started, handled, seconds = families = self._families()
        for series in self._series.values():
            started.add_metric(series.labels, series.started)
            for code, count in series.handled.items():
                handled.add_metric([*series.labels, _CODE_NAMES[code]], count)
            total = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*BUCKETS_S, float("inf")), series.buckets, strict=True):
                total += count
                buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
            seconds.add_metric(series.labels, buckets, series.seconds)
        return iter(families)

    def _families(self) -> tuple[CounterMetricFamily, CounterMetricFamily, HistogramMetricFamily]:
        labels = ["grpc_type", "grpc_service", "grpc_method"]
        return (
            CounterMetricFamily("grpc_server_started", "RPCs started on the server.", labels=labels),
            CounterMetricFamily(
                "grpc_server_handled",
                "RPCs completed on the server, regardless of success or failure.",
                labels=[*labels, "grpc_code"],
            ),
            HistogramMetricFamily(
                "grpc_server_handling_seconds",
                "Seconds of response latency of RPCs handled by the server.",
                labels=labels,
            ),
        )
