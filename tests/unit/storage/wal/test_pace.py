"""The log is written on the spot only while that is quick."""

from storage.wal.pace import (
    MEAN_S_MAX,
    PAUSE_S_MAX,
    PAUSE_S_MIN,
    STALL_PAUSE_S,
    STALL_S,
    TRIAL_S_MAX,
    TRIAL_SYNCS,
    Pace,
)

QUICK_S = MEAN_S_MAX / 4


def run_in(pace: Pace, now_s: float) -> bool:
    """Shows it quick syncs on the thread; returns whether it is convinced."""
    for _ in range(TRIAL_SYNCS):
        pace.took_away(TRIAL_S_MAX / 2, now_s)
    return pace.is_quick


def test_it_begins_on_the_thread_and_leaves_it_after_quick_syncs_in_a_row() -> None:
    pace = Pace()
    for _ in range(TRIAL_SYNCS - 1):
        pace.took_away(QUICK_S, 0.0)
    pace.took_away(TRIAL_S_MAX, 0.0)
    was_quick = pace.is_quick
    assert run_in(pace, 0.0)
    assert not was_quick
    for _ in range(1000):
        pace.took(QUICK_S, 1.0)
    assert pace.is_quick
    assert abs(pace.mean_s - QUICK_S) < QUICK_S / 100


def test_each_stall_sends_it_back_for_longer() -> None:
    pace = Pace()
    assert run_in(pace, 0.0)
    now_s, pause_s = 10.0, STALL_PAUSE_S
    while pause_s < PAUSE_S_MAX:
        pace.took(STALL_S, now_s)
        assert not run_in(pace, now_s + pause_s - 0.01)
        now_s += pause_s
        assert run_in(pace, now_s)
        pause_s *= 2


def slow_down(pace: Pace, now_s: float) -> float:
    """Sends it to the thread; returns how long it stays there."""
    for _ in range(100):
        pace.took(2 * MEAN_S_MAX, now_s)
        if not pace.is_quick:
            break
    began_s = now_s
    while not run_in(pace, now_s):
        now_s += 0.25
    return now_s - began_s


def test_syncs_that_are_slow_on_the_mean_send_it_back_for_longer_each_time() -> None:
    pace = Pace()
    run_in(pace, 0.0)
    now_s, pauses = 0.0, []
    for _ in range(10):
        pauses.append(slow_down(pace, now_s))
        now_s += pauses[-1]
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 16, 32, PAUSE_S_MAX, PAUSE_S_MAX]
    assert slow_down(pace, now_s + 2 * PAUSE_S_MAX) == PAUSE_S_MIN, "it was quick for long"


def test_a_single_outlier_below_a_stall_is_forgiven() -> None:
    pace = Pace()
    run_in(pace, 0.0)
    pace.took(4 * MEAN_S_MAX, 0.0)
    assert pace.is_quick
