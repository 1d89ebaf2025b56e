"""A simulated host's clock: its own start, drift and steps."""

from runtime.sim.loop import SimLoop

EPOCH_S = 1_700_000_000.0
"""What a right wall clock shows at the start of every run, in seconds since 1970."""


class SimClock:
    """See `runtime.Clock`. Both readings drift alike; only the wall clock is stepped."""

    __slots__ = ("_loop", "_rate", "_start_s", "_wall_s")

    def __init__(self, loop: SimLoop, *, rate: float, start_s: float, wall_offset_s: float) -> None:
        self._loop = loop
        self._rate = rate
        self._start_s = start_s
        self._wall_s = EPOCH_S + wall_offset_s

    def wall_s(self) -> float:
        """Seconds since 1970, as this host believes."""
        return self._wall_s + self._loop.virtual_s * self._rate

    def monotonic_s(self) -> float:
        """Seconds since a random start, which is not the event loop's: who mixes the two clocks shall notice."""
        return self._start_s + self._loop.virtual_s * self._rate

    def step(self, seconds: float) -> None:
        """Sets the wall clock forward or back, as an operator or NTP does."""
        self._wall_s += seconds

    def drift(self, rate: float) -> None:
        """Lets both readings go at another rate from now on."""
        kept_s = self._loop.virtual_s * (self._rate - rate)
        self._wall_s += kept_s
        self._start_s += kept_s
        self._rate = rate
