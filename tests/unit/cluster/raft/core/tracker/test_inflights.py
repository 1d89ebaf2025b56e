import pytest

from cluster.raft.core.tracker.inflights import Inflights


def test_count_and_bytes_limit_the_window() -> None:
    window = Inflights(3, 100)
    window.add(5, 60)
    window.add(6, 60)
    # Bytes may be overshot by one message, not by two.
    assert (window.full, len(window), window.size_bytes) == (True, 2, 120)
    window.free_through(5)
    assert (window.full, len(window), window.size_bytes) == (False, 1, 60)
    window.add(7, 1)
    window.add(8, 1)
    assert (window.full, len(window)) == (True, 3)
    with pytest.raises(AssertionError):
        window.add(9, 1)
    window.free_through(4)
    assert len(window) == 3
    window.free_through(8)
    assert (len(window), window.size_bytes) == (0, 0)
