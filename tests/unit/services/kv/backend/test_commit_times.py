from services.kv.backend.commit_times import BOUNDS_S, CommitTimes


def test_a_time_counts_in_every_bucket_that_it_fits_into() -> None:
    times = CommitTimes()
    for seconds in (0.0005, 0.001, 0.0011, 9.0):
        times.observe(seconds)
    counts = times.cumulative()
    assert len(counts) == len(BOUNDS_S) + 1
    assert counts[:3] == [2, 3, 3]
    assert (counts[-2], counts[-1]) == (3, 4)
    assert abs(times.sum_s - 9.0026) < 1e-9
