from hypothesis import given
from hypothesis import strategies as st

from services.registry.checks.schedule import Schedule


def test_it_keeps_to_its_grid_however_long_an_answer_takes() -> None:
    schedule = Schedule()
    schedule.add("a", 10.0, 3.0)
    for point in (3.0, 13.0, 23.0):
        assert schedule.next_due_s() == point
        assert schedule.take_due(point - 0.1, 9) == []
        assert schedule.take_due(point, 9) == ["a"]
        assert schedule.next_due_s() is None  # it is being asked
        schedule.done("a", point + 7.0)
    assert schedule.skipped == 0


def test_what_is_late_is_not_made_up_for() -> None:
    schedule = Schedule()
    schedule.add("a", 10.0, 0.0)
    assert schedule.take_due(35.0, 9) == ["a"]
    assert schedule.lateness_s("a", 35.0) == 35.0
    schedule.done("a", 36.0)
    assert schedule.next_due_s() == 40.0
    assert schedule.skipped == 3


def test_whoever_waits_longest_comes_first() -> None:
    schedule = Schedule()
    for number in range(10):
        schedule.add(f"k{number}", 10.0, float(10 - number))
    assert schedule.take_due(100.0, 3) == ["k9", "k8", "k7"]


def test_what_is_removed_while_it_is_asked_stays_away() -> None:
    schedule = Schedule()
    schedule.add("a", 1.0, 0.0)
    schedule.take_due(0.0, 1)
    schedule.remove("a")
    schedule.done("a", 0.5)
    assert schedule.next_due_s() is None
    assert len(schedule) == 0
    assert "a" not in schedule


def test_what_is_planned_anew_while_it_is_asked_follows_the_new_plan() -> None:
    schedule = Schedule()
    schedule.add("a", 1.0, 0.0)
    schedule.take_due(0.0, 1)
    schedule.add("a", 5.0, 4.0)
    schedule.done("a", 0.5)
    assert schedule.next_due_s() == 4.0


@given(
    st.floats(0.01, 1e4),
    st.floats(0, 1e6),
    st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)), max_size=30),
)
def test_the_next_point_is_on_the_grid_in_the_future_and_the_first_such(
    interval_s: float, first_s: float, delays: list[tuple[float, float]]
) -> None:
    schedule = Schedule()
    schedule.add("a", interval_s, first_s)
    for late_s, took_s in delays:
        due_s = schedule.next_due_s()
        assert due_s is not None
        assert schedule.take_due(due_s + late_s, 1) == ["a"]
        now_s = due_s + late_s + took_s
        schedule.done("a", now_s)
        next_s = schedule.next_due_s()
        assert next_s is not None
        assert next_s > now_s or now_s - next_s < 1e-6
        rounding = 1e-9 * max(abs(next_s), 1.0) + 1e-6 * interval_s
        assert next_s - interval_s <= max(now_s, due_s) + rounding
        points = (next_s - first_s) / interval_s
        assert abs(points - round(points)) * interval_s < 1e-6 * max(next_s, 1.0)
