"""The door to time."""

from typing import Protocol


class Clock(Protocol):
    """Tells time. Waiting is the event loop's: `asyncio.sleep` and timers follow its clock.

    The two readings have nothing to do with each other, and only differences of `monotonic_s` measure durations.
    """

    def wall_s(self) -> float:
        """Seconds since the Unix epoch. May jump either way when the host's clock is stepped."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start. Never goes back while the process lives."""
        ...
