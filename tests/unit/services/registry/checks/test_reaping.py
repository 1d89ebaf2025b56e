from hypothesis import given
from hypothesis import strategies as st

from services.registry.checks.nodes import node_check
from services.registry.checks.reaping import AFTER_S_MIN, WATCHED_S_MIN, reap_in_s
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health


def definition(after_ms: int) -> CheckDefinition:
    return CheckDefinition(id="c", name="c", kind=CheckKind.TTL, instance_id="i", deregister_critical_after_ms=after_ms)


def critical(since_ms: int, *, held: bool = False) -> CheckState:
    return CheckState(Health.CRITICAL, critical_since_ms=since_ms, changed_at_ms=since_ms, held=held)


def test_it_goes_when_its_time_is_over() -> None:
    assert reap_in_s(definition(600_000), critical(1_000_000), 1_000_000) == 600.0
    assert reap_in_s(definition(600_000), critical(1_000_000), 1_200_000) == 400.0


def test_no_sooner_than_the_minimum() -> None:
    assert reap_in_s(definition(1), critical(1_000_000), 1_000_000) == AFTER_S_MIN


def test_never_without_a_time_or_while_well_or_held() -> None:
    assert reap_in_s(definition(0), critical(5), 10**9) is None
    assert reap_in_s(definition(60_000), CheckState(Health.WARNING, changed_at_ms=5), 10**9) is None
    assert reap_in_s(definition(60_000), critical(5, held=True), 10**9) is None


def test_a_node_goes_by_the_word_of_membership_alone() -> None:
    of_node = CheckDefinition(id="c", name="c", kind=CheckKind.TCP, deregister_critical_after_ms=60_000)
    assert reap_in_s(of_node, critical(1), 10**9) is None
    assert reap_in_s(node_check(60_000), critical(1), 10**9) is not None


@given(st.integers(1, 10**10), st.integers(0, 10**13), st.integers(0, 10**13))
def test_no_wall_clock_makes_it_sudden_or_endless(after_ms: int, since_ms: int, now_ms: int) -> None:
    found = reap_in_s(definition(after_ms), critical(since_ms), now_ms)
    assert found is not None
    assert WATCHED_S_MIN <= found <= max(after_ms / 1000, AFTER_S_MIN)
