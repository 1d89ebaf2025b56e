import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.discovery.budget import RetryBudget


@given(st.lists(st.booleans(), max_size=400))
def test_retries_are_a_share_of_calls_and_a_reserve(history: list[bool]) -> None:
    budget = RetryBudget(ratio=0.25, reserve=8.0)
    calls = retries = 0
    for is_call in history:
        if is_call:
            budget.called()
            calls += 1
        else:
            retries += budget.take()
        assert retries <= 8 + calls / 4
        assert 0.0 <= budget.tokens <= 8.0
    assert retries + budget.exhausted == history.count(False)


def test_when_everything_fails_the_load_grows_by_the_ratio_only() -> None:
    budget = RetryBudget(ratio=0.2, reserve=10.0)
    retries = 0
    for _ in range(1_000):
        budget.called()
        retries += budget.take() + budget.take()
    assert 200 <= retries <= 211


@pytest.mark.parametrize(("ratio", "reserve"), [(-0.1, 5.0), (1.1, 5.0), (0.2, 0.5)])
def test_refusals(ratio: float, reserve: float) -> None:
    with pytest.raises(ValueError, match="retry budget"):
        RetryBudget(ratio, reserve)
