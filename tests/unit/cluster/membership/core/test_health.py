"""The counter saturates at both ends (Lifeguard, section IV.A)."""

from cluster.membership.core.health import LocalHealth


def test_it_saturates_at_both_ends() -> None:
    health = LocalHealth(3)
    health.better()
    assert (health.score, health.multiplier) == (0, 1)
    health.worse(2)
    health.worse(2)
    assert (health.score, health.multiplier) == (3, 4)
    health.better()
    assert health.score == 2


def test_without_room_it_stays_well() -> None:
    health = LocalHealth(0)
    health.worse(5)
    assert health.multiplier == 1
