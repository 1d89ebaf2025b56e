import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.checks.preservation import Account, Allowance


def fail(account: Account, keys: range, well: int, now_s: float) -> list[int]:
    """Which of them are believed, when they fail one after the other."""
    believed = []
    for number in keys:
        if account.may_turn(f"c{number}", well, now_s):
            believed.append(number)
            well -= 1
    return believed


def test_one_of_two_is_believed() -> None:
    assert fail(Account(Allowance()), range(1), 2, 0.0) == [0]
    assert fail(Account(Allowance()), range(10), 10, 0.0) == list(range(10))


def test_a_rack_of_a_large_cluster_is_believed_and_a_half_is_not() -> None:
    assert len(fail(Account(Allowance()), range(150), 1_000, 0.0)) == 150
    account = Account(Allowance())
    assert fail(account, range(500), 1_000, 0.0) == list(range(150))
    assert account.held == 350


def test_what_fails_for_the_whole_window_is_believed_in_the_end() -> None:
    account = Account(Allowance(window_s=300.0))
    fail(account, range(500), 1_000, 100.0)
    assert account.ready(850, 399.9, 1_000) == []
    ready = account.ready(850, 400.0, 1_000)
    assert ready == [f"c{number}" for number in range(150, 500)]
    assert all(account.may_turn(key, 850, 400.0) for key in ready)
    assert account.held == 0


def test_recoveries_make_room_for_the_one_held_longest() -> None:
    account = Account(Allowance(share_max=0.0, count_min=10))
    fail(account, range(12), 100, 0.0)
    assert account.ready(90, 1.0, 9) == []
    assert not account.recovered("c3")
    assert account.ready(91, 1.0, 9) == ["c10"]
    # A newcomer does not overtake those that wait.
    assert not account.may_turn("new", 91, 1.0)
    assert account.may_turn("c10", 91, 1.0)
    assert account.recovered("c11")
    assert account.held == 1


def test_a_partition_that_heals_leaves_nothing_behind() -> None:
    account = Account(Allowance())
    fail(account, range(100), 100, 0.0)
    assert account.held == 85
    for number in range(100):
        account.recovered(f"c{number}")
    assert account.held == account.believed == 0


def test_asking_again_costs_nothing() -> None:
    account = Account(Allowance(share_max=0.0, count_min=1))
    assert all(account.may_turn("a", 10, float(second)) for second in range(5))
    assert not account.may_turn("b", 9, 5.0)


def test_nonsense_is_refused() -> None:
    for share, count, window in ((1.1, 1, 1.0), (0.5, 0, 1.0), (0.5, 1, 0.0)):
        with pytest.raises(ValueError, match="allowance"):
            Allowance(share, count, window)


@settings(max_examples=150)
@given(
    st.integers(1, 30),
    st.integers(1, 4),
    st.floats(0, 0.5),
    st.lists(st.tuples(st.integers(0, 29), st.booleans(), st.floats(0, 40)), max_size=80),
)
def test_never_more_than_the_allowance_and_never_longer_than_the_window(
    total: int, count_min: int, share: float, steps: list[tuple[int, bool, float]]
) -> None:
    """A world of checks that fail and recover; critical is what the account believed."""
    allowance = Allowance(share, count_min, window_s=100.0)
    account = Account(allowance)
    now_s = 0.0
    failing: dict[str, float] = {}
    critical: dict[str, float] = {}

    def ask(key: str) -> None:
        well = total - len(critical)
        if account.may_turn(key, well, now_s):
            critical[key] = now_s
            waited_s = now_s - failing[key]
            lately = [at for at in critical.values() if now_s - at < 100.0]
            assert waited_s >= 100.0 or len(lately) <= allowance.turns_max(total) + len(
                [key for key, at in critical.items() if at - failing[key] >= 100.0]
            )

    for number, fails, step_s in steps:
        now_s += step_s
        key = f"c{number % total}"
        if fails:
            failing.setdefault(key, now_s)
            if key not in critical:
                ask(key)
        else:
            failing.pop(key, None)
            critical.pop(key, None)
            account.recovered(key)
        for ready in account.ready(total - len(critical), now_s, 100):
            ask(ready)
            assert ready in critical
        for held, since_s in failing.items():
            assert held in critical or now_s - since_s < 100.0
            assert account.is_held(held) is (held not in critical)
        assert account.held == len(failing) - len(critical)
