import pytest

from orrery.sim.faults import ClockDrift, ClockStep
from orrery.sim.faults.testing import HostCluster, Play


def test_a_step_moves_the_wall_clock_alone_and_is_taken_back(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        clock = cluster.members[0].clock
        wall_s, monotonic_s = clock.wall_s(), clock.monotonic_s()
        async with ClockStep("all", seconds_max=50).on(cluster):
            assert 0 < abs(clock.wall_s() - wall_s) <= 50
            assert clock.monotonic_s() == monotonic_s
        assert clock.wall_s() == pytest.approx(wall_s)

    play(scenario)


def test_a_drift_ends_with_the_fault(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        rates = [member.rate for member in cluster.members]
        async with ClockDrift("all", fraction_max=0.5).on(cluster):
            assert all(0.5 <= member.rate <= 1.5 for member in cluster.members)
            assert [member.rate for member in cluster.members] != rates
        assert [member.rate for member in cluster.members] == rates

    play(scenario)


def test_no_clock_stands_still() -> None:
    with pytest.raises(ValueError, match="cannot drift"):
        ClockDrift(fraction_max=1.0)
