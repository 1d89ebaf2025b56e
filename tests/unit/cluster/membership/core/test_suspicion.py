"""How long a suspicion lasts (Lifeguard, section IV.B)."""

from cluster.membership.core.suspicion import Suspicion, shortest_ticks


def make(wanted: int = 3) -> Suspicion:
    return Suspicion(1, 1_000, 40, 240, wanted, {"first"})


def test_it_begins_long_and_shrinks_with_each_independent_suspicion() -> None:
    suspicion = make()
    deadlines = [suspicion.deadline_tick]
    for origin in ("a", "b", "c"):
        assert suspicion.confirm(origin)
        deadlines.append(suspicion.deadline_tick)
    # max - (max - min) * log(C + 1) / log(K + 1), for K = 3
    assert deadlines == [1_240, 1_140, 1_082, 1_040]


def test_the_same_origin_confirms_nothing_and_enough_is_enough() -> None:
    suspicion = make()
    assert not suspicion.confirm("first")
    assert suspicion.confirm("a")
    assert not suspicion.confirm("a")
    assert suspicion.confirm("b")
    assert suspicion.confirm("c")
    assert not suspicion.confirm("d")
    assert suspicion.deadline_tick == 1_040


def test_where_nobody_can_confirm_it_is_short_from_the_start() -> None:
    assert make(wanted=0).deadline_tick == 1_040


def test_the_shortest_grows_with_the_logarithm_of_the_cluster() -> None:
    assert [shortest_ticks(4, members, 10) for members in (0, 1, 10, 100, 1_000)] == [40, 40, 40, 80, 120]
