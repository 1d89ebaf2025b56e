"""The host's clock."""

import time


class SystemClock:
    """Reads the host's clocks; see `runtime.Clock`."""

    __slots__ = ()

    def wall_s(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds since some start of the host; the clock that event loops use, too."""
        return time.monotonic()
