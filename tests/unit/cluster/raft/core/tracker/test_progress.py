from cluster.raft.core.tracker.inflights import Inflights
from cluster.raft.core.tracker.progress import Progress, ProgressState


def progress(match: int = 3, next_index: int = 9) -> Progress:
    return Progress(match, next_index, Inflights(2, 100))


def test_probing_sends_one_at_a_time() -> None:
    one = progress()
    one.sent_entries(9, 10)
    assert (one.next, one.paused) == (9, True)
    assert one.rejected(8, 5)
    assert (one.next, one.paused) == (6, False)
    assert not one.rejected(8, 2), "an old rejection"


def test_a_rejection_never_goes_below_what_is_matched() -> None:
    one = progress()
    assert one.rejected(8, 0)
    assert one.next == 4


def test_streaming_moves_on_until_the_window_is_full() -> None:
    one = progress()
    one.become_replicate()
    one.sent_entries(5, 10)
    one.sent_entries(7, 10)
    assert (one.next, one.paused) == (8, True)
    assert one.acknowledged(5)
    one.inflights.free_through(5)
    assert not one.paused
    assert not one.acknowledged(5)
    assert not one.rejected(4, 0), "older than what is matched"
    assert one.rejected(7, 5)
    assert one.next == 6


def test_a_snapshot_stops_the_flow_until_it_is_reported() -> None:
    one = progress()
    one.become_snapshot(20)
    assert one.paused
    one.become_probe()
    assert (one.state, one.next) == (ProgressState.PROBE, 21)
    assert "probe match=3 next=21" in one.describe()
