from hypothesis import given
from hypothesis import strategies as st

from services.registry.checks.metrics import CheckCounters
from services.registry.checks.preservation import Allowance
from services.registry.checks.preserving import Preserving


def preserving(count_min: int = 2, share: float = 0.0) -> tuple[Preserving, CheckCounters]:
    counters = CheckCounters()
    return Preserving(Allowance(share, count_min, 100.0), Allowance(0.5, 1, 100.0), counters), counters


def test_a_turn_that_was_believed_counts_before_it_is_kept() -> None:
    """Without that, turns that are being written would make the population, and so the share, seem larger."""
    found, counters = preserving(count_min=1, share=0.15)
    for number in range(100):
        found.see_check(f"c{number}", critical=False)
    believed = [number for number in range(100) if found.may_turn(f"c{number}", 1.0)]
    assert len(believed) == 15
    assert found.held_back == counters.held_back == 85


def test_of_nodes_only_own_ones_are_shown_and_all_are_counted() -> None:
    found, counters = preserving()
    for number in range(8):
        found.see_node(f"n{number}", critical=False, own=number >= 6)
    turned = [found.may_turn(f"n{number}", 1.0) for number in range(8)]
    assert turned == [True] * 4 + [False] * 4
    assert found.held_back == counters.held_back == 2
    assert found.ready(101.0) == ["n6", "n7"]
    found.see_node("n6", critical=True, own=True)
    found.forget_node("n7")
    assert found.held_back == 0


def test_nodes_and_checks_do_not_take_each_other_s_room() -> None:
    found, _ = preserving(count_min=1)
    found.see_node("n", critical=False, own=True)
    for key in ("a", "b"):
        found.see_check(key, critical=False)
    assert found.may_turn("n", 1.0)
    assert found.may_turn("a", 1.0)
    assert not found.may_turn("b", 1.0)
    found.forget_check("a")
    assert found.ready(1.0) == ["b"]


KEYS = st.integers(0, 5).map("k{}".format)


@given(st.lists(st.tuples(st.integers(0, 4), KEYS, st.booleans(), st.floats(0, 60)), max_size=60))
def test_the_population_is_never_counted_wrongly(steps: list[tuple[int, str, bool, float]]) -> None:
    found, _ = preserving(count_min=1, share=0.5)
    kept: dict[str, bool] = {}
    now_s = 0.0
    for kind, key, critical, step_s in steps:
        now_s += step_s
        if kind == 0:
            found.see_check(key, critical=critical)
            kept[key] = critical
        elif kind == 1:
            found.forget_check(key)
            kept.pop(key, None)
        elif kind == 2 and key in kept:
            found.recovered(key)
        elif kind == 3 and not kept.get(key, True):
            found.may_turn(key, now_s)
        population = found._checks
        for each in kept:  # what happens to each brings its own count up to date
            population._count(each)
        well = {
            each for each, is_critical in kept.items() if not is_critical and not population.account.is_believed(each)
        }
        assert population.well == len(well)
        assert 0 <= found.held_back <= len(kept)
