"""What is counted of gRPC calls, under the names that the go-grpc ecosystem gave it, so that its dashboards work.

`grpc_server_started_total{grpc_type,grpc_service,grpc_method}`,
`grpc_server_handled_total{grpc_type,grpc_service,grpc_method,grpc_code}` and
`grpc_server_handling_seconds{grpc_type,grpc_service,grpc_method}` (go-grpc-middleware, providers/prometheus). Messages
of streams are not counted.

A call costs a few integer additions, since Prometheus' own counters take locks: the numbers become samples only when
somebody asks for them. Not safe for threads. Who counts: an observer of our own engine (`cluster.rpc.metrics`), or an
interceptor on either engine (`cluster.telemetry.grpc_metrics`).
"""

from bisect import bisect_left
from collections.abc import Iterator

import grpc
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS_MAX = 1024
"""Methods with series of their own. Methods come from registered servicers, never from callers; this is a backstop."""

_CODE_NAMES = {code: "".join(word.capitalize() for word in code.name.split("_")) for code in grpc.StatusCode}
_CODE_NAMES[grpc.StatusCode.OK] = "OK"
_CODE_NAMES[grpc.StatusCode.CANCELLED] = "Canceled"  # Go's spelling


class MethodSeries:
    """What is counted for one method."""

    __slots__ = ("buckets", "handled", "labels", "seconds", "started")

    def __init__(self, kind: str, path: str) -> None:
        service, _, name = path.lstrip("/").rpartition("/")
        self.labels = [kind, service, name]
        self.started = 0
        self.handled: dict[grpc.StatusCode, int] = {}
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS_S) + 1)

    def ended(self, code: grpc.StatusCode, took_s: float) -> None:
        """Counts the end of a call that was counted in `started`."""
        self.handled[code] = self.handled.get(code, 0) + 1
        self.seconds += took_s
        self.buckets[bisect_left(BUCKETS_S, took_s)] += 1


class GrpcSeries(Collector):
    """The series of all methods of a process. Register it once; several counters may feed it."""

    def __init__(self) -> None:
        self._methods: dict[str, MethodSeries] = {}

    def get(self, path: str) -> MethodSeries | None:
        """The series of a method that was called before."""
        return self._methods.get(path)

    def open(self, path: str, *, streams_requests: bool, streams_responses: bool) -> MethodSeries | None:
        """The series of a registered method, made when it is new; None beyond METHODS_MAX."""
        series = self._methods.get(path)
        if series is None and len(self._methods) < METHODS_MAX:
            if streams_requests:
                kind = "bidi_stream" if streams_responses else "client_stream"
            else:
                kind = "server_stream" if streams_responses else "unary"
            series = self._methods[path] = MethodSeries(kind, path)
        return series

    def describe(self) -> Iterator[Metric]:
        """The families, without samples: registering must not depend on what has run."""
        return iter(_families())

    def collect(self) -> Iterator[Metric]:
        """The samples of now."""
        started, handled, seconds = families = _families()
        for series in self._methods.values():
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


def _families() -> tuple[CounterMetricFamily, CounterMetricFamily, HistogramMetricFamily]:
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
