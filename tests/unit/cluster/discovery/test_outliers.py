"""Ejection, with time handed in: a rule-based machine holds the promises over any history, examples the figures."""

import grpc
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cluster.discovery.outliers import OutlierOptions, Outliers, Reason, Record, is_failure

OPTIONS = OutlierOptions(consecutive_failures=3, interval_s=10.0, base_ejection_s=5.0, ejection_s_max=12.0)


def make(count: int, options: OutlierOptions = OPTIONS) -> tuple[Outliers, list[Record]]:
    outliers = Outliers(options, 0.0)
    return outliers, [outliers.track(str(number)) for number in range(count)]


def fail(outliers: Outliers, record: Record, times: int, now_s: float) -> list[bool]:
    return [outliers.failed(record, now_s) for _ in range(times)]


def test_failures_in_a_row_eject_and_time_brings_back() -> None:
    outliers, records = make(4)
    assert fail(outliers, records[0], 2, 1.0) == [False, False]
    outliers.succeeded(records[0])
    assert fail(outliers, records[0], 3, 1.0) == [False, False, True]
    assert outliers.ejected == 1
    assert outliers.next_s() == 6.0
    assert not outliers.sweep(5.9)
    assert outliers.sweep(6.0)
    assert records[0].ejected_until_s is None
    assert outliers.ejections == {Reason.CONSECUTIVE: 1, Reason.SUCCESS_RATE: 0}


def test_each_time_it_is_out_for_longer_up_to_a_limit_and_good_intervals_forgive() -> None:
    outliers, records = make(4, OutlierOptions(consecutive_failures=1, interval_s=1000.0, base_ejection_s=5.0,
                                               ejection_s_max=12.0))  # fmt: skip
    now_s, lengths = 0.0, []
    for _ in range(4):
        assert outliers.failed(records[0], now_s)
        lengths.append((records[0].ejected_until_s or 0.0) - now_s)
        now_s += lengths[-1]
        assert outliers.sweep(now_s)
    assert lengths == [5.0, 10.0, 12.0, 12.0]
    for interval in range(1, 5):
        outliers.sweep(interval * 1001.0)
    outliers.failed(records[0], 5000.0)
    assert records[0].ejected_until_s == 5005.0


@pytest.mark.parametrize(("count", "out"), [(1, 0), (2, 1), (3, 1), (4, 2), (10, 5)])
def test_never_too_many_and_never_the_last(count: int, out: int) -> None:
    outliers, records = make(count)
    for record in records:
        fail(outliers, record, 3, 0.0)
    assert outliers.ejected == out
    assert outliers.spared == count - out


def test_one_of_several_may_be_out_whatever_the_share() -> None:
    outliers, records = make(3, OutlierOptions(consecutive_failures=1, ejected_share_max=0.1))
    assert outliers.failed(records[0], 0.0)
    assert not outliers.failed(records[1], 0.0)


def calls(outliers: Outliers, record: Record, good: int, bad: int) -> None:
    """Spread, so that failures never come in a row of three."""
    for number in range(good + bad):
        if number < 2 * bad and number % 2:
            outliers.failed(record, 1.0)
        else:
            outliers.succeeded(record)


def test_a_low_success_rate_ejects() -> None:
    outliers, records = make(6)
    for record in records[:5]:
        calls(outliers, record, 199, 1)
    calls(outliers, records[5], 130, 70)
    assert outliers.sweep(10.0)
    assert outliers.ejections[Reason.SUCCESS_RATE] == 1
    assert records[5].ejected_until_s == 15.0
    assert all(record.successes == record.failures == 0 for record in records)


def test_rates_need_calls_and_company() -> None:
    outliers, records = make(6)
    for record in records[:5]:
        calls(outliers, record, 200, 0)
    calls(outliers, records[5], 50, 40)
    assert not outliers.sweep(10.0)
    for record in records[:3]:
        calls(outliers, record, 200, 0)
    calls(outliers, records[5], 100, 100)
    assert not outliers.sweep(20.0)


def test_equal_rates_eject_nobody() -> None:
    outliers, records = make(5)
    for record in records:
        calls(outliers, record, 100, 50)
    assert not outliers.sweep(10.0)


def test_what_speaks_against_an_endpoint() -> None:
    assert is_failure(grpc.StatusCode.UNAVAILABLE)
    assert is_failure(grpc.StatusCode.DEADLINE_EXCEEDED)
    for code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED):
        assert not is_failure(code)


class Histories(RuleBasedStateMachine):
    """Any history: the count is right, the share is kept, everybody comes back in time."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.outliers = Outliers(OPTIONS, 0.0)
        self.records: dict[str, Record] = {}

    @rule(name=st.sampled_from("abcdef"))
    def comes(self, name: str) -> None:
        self.records[name] = self.outliers.track(name)

    @rule(name=st.sampled_from("abcdef"))
    def goes(self, name: str) -> None:
        self.records.pop(name, None)
        self.outliers.forget(name)

    @rule(name=st.sampled_from("abcdef"), bad=st.integers(0, 4), good=st.integers(0, 2))
    def calls(self, name: str, bad: int, good: int) -> None:
        if name in self.records:
            out_before = self.outliers.ejected
            changed = fail(self.outliers, self.records[name], bad, self.now_s)
            assert sum(changed) == self.outliers.ejected - out_before
            for _ in range(good):
                self.outliers.succeeded(self.records[name])

    @rule(step_s=st.sampled_from([0.0, 0.5, 5.0, 20.0]))
    def time_goes(self, step_s: float) -> None:
        self.now_s += step_s
        self.outliers.sweep(self.now_s)
        assert self.outliers.next_s() > self.now_s

    @invariant()
    def holds(self) -> None:
        out = [record for record in self.records.values() if record.ejected_until_s is not None]
        assert self.outliers.ejected == len(out)
        assert all(record.ejected_until_s is not None and record.ejected_until_s <= self.now_s + 12.0 for record in out)


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestHistories = Histories.TestCase
