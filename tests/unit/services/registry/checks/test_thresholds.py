from hypothesis import given
from hypothesis import strategies as st

from services.registry.checks.thresholds import Streak
from services.registry.domain import CheckDefinition, CheckKind, Health


@given(st.integers(1, 5), st.integers(1, 5), st.lists(st.sampled_from(list(Health)), max_size=50))
def test_a_result_counts_when_enough_of_its_kind_came_in_a_row(
    successes: int, failures: int, results: list[Health]
) -> None:
    definition = CheckDefinition(
        id="c",
        name="c",
        kind=CheckKind.TCP,
        successes_before_passing=successes,
        failures_before_critical=failures,
    )
    streak = Streak()
    for index, health in enumerate(results):
        failing = health is Health.CRITICAL
        needed = failures if failing else successes
        latest = results[max(0, index + 1 - needed) : index + 1]
        expected = len(latest) == needed and all((each is Health.CRITICAL) is failing for each in latest)
        assert streak.add(definition, health) is expected


def test_zero_means_one() -> None:
    definition = CheckDefinition(
        id="c", name="c", kind=CheckKind.TCP, successes_before_passing=0, failures_before_critical=0
    )
    assert Streak().add(definition, Health.CRITICAL)
    assert Streak().add(definition, Health.WARNING)
