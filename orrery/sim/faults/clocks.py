"""Clocks that are wrong. No promise of a cluster may depend on them, except for how long things take."""

from orrery.sim.faults.nemesis import Cluster, Nemesis, Whom, choose
from runtime.sim import SimHost


class ClockStep(Nemesis):
    """Wall clocks jump, forward or back, and stay wrong, as by a bad NTP server; healing steps them back."""

    name = "clock-step"

    def __init__(self, whom: Whom = "one", *, seconds_max: float = 100.0) -> None:
        self._whom = whom
        self._seconds_max = seconds_max
        self._stepped: list[tuple[SimHost, float]] = []

    async def _strike(self, cluster: Cluster) -> None:
        for member in await choose(cluster, self._whom):
            seconds = cluster.world.random.uniform(-self._seconds_max, self._seconds_max)
            self._stepped.append((member, seconds))
            member.tell(f"wall clock stepped by {seconds:+.3f} s")
            member.clock.step(seconds)

    async def _heal(self, cluster: Cluster) -> None:
        while self._stepped:
            member, seconds = self._stepped.pop()
            member.tell(f"wall clock stepped by {-seconds:+.3f} s")
            member.clock.step(-seconds)


class ClockDrift(Nemesis):
    """All clocks of members run fast or slow by up to a fraction, timers included."""

    name = "clock-drift"

    def __init__(self, whom: Whom = "one", *, fraction_max: float = 0.2) -> None:
        if not 0 <= fraction_max < 1:
            raise ValueError(f"a clock cannot drift by {fraction_max} of its rate")
        self._whom = whom
        self._fraction_max = fraction_max
        self._drifting: list[tuple[SimHost, float]] = []

    async def _strike(self, cluster: Cluster) -> None:
        for member in await choose(cluster, self._whom):
            self._drifting.append((member, member.rate))
            fraction = cluster.world.random.uniform(-self._fraction_max, self._fraction_max)
            member.drift(1.0 + fraction)

    async def _heal(self, cluster: Cluster) -> None:
        while self._drifting:
            member, rate = self._drifting.pop()
            member.drift(rate)
