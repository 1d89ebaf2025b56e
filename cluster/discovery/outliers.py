"""Ejection of endpoints that fail: an endpoint that answers worse than the others gets no calls for a while. Pure.

Two ways to be found out, both Envoy's (its "Outlier detection" architecture document):
- consecutive failures: so many calls in a row failed. Found at once; what finds a process that is broken altogether.
- success rate: at the end of an interval, the rate lies more than so many standard deviations below the mean of all
  endpoints that had enough calls. What finds a process that fails every third call.

Ejected endpoints come back by time, on probation: after the base time multiplied by how often they were ejected, up to
a limit; each interval at whose end they are in takes one off that count. Never more than a share of all endpoints is
out at once, since when most fail, the fault is likely not theirs, and those that are left would be overrun; but one may
always be, of several.

Failures are what says something of the endpoint, and not of the request: `is_failure`.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

import grpc

FAILURES = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""What a gateway would answer as 500, 503 or 504. Not UNIMPLEMENTED, which every process of a release answers alike,
and not RESOURCE_EXHAUSTED: one that says that it is busy is well, and the balancer sees that it is busy."""


def is_failure(code: grpc.StatusCode) -> bool:
    """Whether a status speaks against the endpoint."""
    return code in FAILURES


@dataclass(frozen=True, slots=True)
class OutlierOptions:
    """When to eject, and for how long. The defaults fit a few processes of one data centre."""

    consecutive_failures: int = 5
    """Failures in a row. 0: not judged by them."""
    interval_s: float = 10.0
    """How often success rates are compared."""
    base_ejection_s: float = 5.0
    """The first time. Envoy's 30 s are too long where a process restarts in one or two."""
    ejection_s_max: float = 60.0
    ejected_share_max: float = 0.5
    """Of all endpoints. Whatever it says, one of several may be out, and the last one never is."""
    success_rate_endpoints_min: int = 5
    """So many endpoints with enough calls make a mean worth comparing with. 0: rates are not compared."""
    success_rate_calls_min: int = 100
    """So many calls within an interval are enough."""
    success_rate_deviations: float = 1.9
    """How far below the mean is too far."""


class Reason(StrEnum):
    """Why an endpoint was ejected."""

    CONSECUTIVE = "consecutive_failures"
    SUCCESS_RATE = "success_rate"


class Record:
    """What is known of one endpoint. Counting is the callers' in the hot way: see `Outliers.succeeded`."""

    __slots__ = ("consecutive", "ejected_until_s", "failures", "multiplier", "successes")

    def __init__(self) -> None:
        self.consecutive = 0
        """Failures since the last success."""
        self.successes = 0
        """In this interval."""
        self.failures = 0
        """In this interval."""
        self.multiplier = 0
        """Ejections, less one for each interval at whose end it was in."""
        self.ejected_until_s: float | None = None
        """None: it is in."""


class Outliers:
    """Judges the endpoints of one service. Time is handed in, in seconds of one monotonic clock."""

    def __init__(self, options: OutlierOptions, now_s: float) -> None:
        self._options = options
        self._records: dict[str, Record] = {}
        self._interval_ends_s = now_s + options.interval_s
        self.ejected = 0
        """How many are out now."""
        self.ejections = dict.fromkeys(Reason, 0)
        """Since the start."""
        self.spared = 0
        """Ejections that did not happen, since too many were out."""

    def track(self, address: str) -> Record:
        """The record of an endpoint, made when it is new."""
        return self._records.setdefault(address, Record())

    def forget(self, address: str) -> None:
        """The endpoint is gone."""
        record = self._records.pop(address, None)
        if record is not None and record.ejected_until_s is not None:
            self.ejected -= 1

    def succeeded(self, record: Record) -> None:
        """A call came to a good end."""
        record.successes += 1
        record.consecutive = 0

    def failed(self, record: Record, now_s: float) -> bool:
        """A call failed. Returns whether the endpoint was ejected for it."""
        record.failures += 1
        record.consecutive += 1
        limit = self._options.consecutive_failures
        return limit > 0 and record.consecutive >= limit and self._eject(record, Reason.CONSECUTIVE, now_s)

    def sweep(self, now_s: float) -> bool:
        """Takes back whose time is over, and compares rates when the interval is. Returns whether anything changed."""
        has_changed = False
        for record in self._records.values():
            if record.ejected_until_s is not None and record.ejected_until_s <= now_s:
                record.ejected_until_s = None
                # On probation: one failure is enough now, one success clears it. Envoy waits for as many as at first.
                record.consecutive = max(0, self._options.consecutive_failures - 1)
                self.ejected -= 1
                has_changed = True
        if now_s >= self._interval_ends_s:
            self._interval_ends_s = now_s + self._options.interval_s
            has_changed = self._judge_rates(now_s) or has_changed
        return has_changed

    def next_s(self) -> float:
        """When to sweep again: at the next return, or the end of the interval."""
        returns = [record.ejected_until_s for record in self._records.values() if record.ejected_until_s is not None]
        return min([self._interval_ends_s, *returns])

    def _judge_rates(self, now_s: float) -> bool:
        options = self._options
        judged: list[tuple[float, Record]] = []
        has_changed = False
        for record in self._records.values():
            calls = record.successes + record.failures
            if record.ejected_until_s is None:
                if calls >= options.success_rate_calls_min:
                    judged.append((record.successes / calls, record))
                record.multiplier = max(0, record.multiplier - 1)
            record.successes = record.failures = 0
        if 0 < options.success_rate_endpoints_min <= len(judged):
            mean = sum(rate for rate, _ in judged) / len(judged)
            deviation = sqrt(sum((rate - mean) ** 2 for rate, _ in judged) / len(judged))
            # The worst first: the share that may be out is theirs.
            judged.sort(key=lambda pair: pair[0])
            for rate, record in judged:
                # Less than the smallest step that one call makes is rounding, not a difference.
                if rate < mean - max(options.success_rate_deviations * deviation, 1e-9):
                    has_changed = self._eject(record, Reason.SUCCESS_RATE, now_s) or has_changed
        return has_changed

    def _eject(self, record: Record, reason: Reason, now_s: float) -> bool:
        if record.ejected_until_s is not None:
            return False
        total = len(self._records)
        allowed = min(total - 1, max(1, int(total * self._options.ejected_share_max)))
        if self.ejected >= allowed:
            self.spared += 1
            return False
        record.multiplier += 1
        record.ejected_until_s = now_s + min(
            self._options.base_ejection_s * record.multiplier, self._options.ejection_s_max
        )
        self.ejected += 1
        self.ejections[reason] += 1
        return True
