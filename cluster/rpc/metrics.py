"""Counts the calls of our own engine: an observer, which costs two clock readings a call."""

import grpc

from cluster.rpc.grpc.server.call import ServerCall
from cluster.telemetry.grpc_series import GrpcSeries
from runtime import Clock


class CallMetrics:
    """An observer for `create_server(observers=...)` that feeds a process's series."""

    def __init__(self, series: GrpcSeries, clock: Clock) -> None:
        self._series = series
        self._now_s = clock.monotonic_s

    def call_started(self, call: ServerCall) -> None:
        """Counts a call to a method that exists; others would let callers make up series."""
        method = call.method
        series = self._series.get(method.path)
        if series is None and method.path:
            series = self._series.open(
                method.path,
                streams_requests=method.streams_requests,
                streams_responses=method.streams_responses,
            )
        if series is None:
            return
        series.started += 1
        call.observed_s = self._now_s()

    def call_ended(self, call: ServerCall, code: grpc.StatusCode) -> None:
        """Counts the end."""
        series = self._series.get(call.method.path)
        if series is not None:
            series.ended(code, self._now_s() - call.observed_s)
