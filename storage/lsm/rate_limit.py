"""Keeps background writes under a rate."""

import asyncio

BURST_S = 0.1
"""What may be written at once after idling, in seconds of the rate."""


class RateLimit:
    """`await limit.take(n)` before writing n bytes. None as the rate: never waits."""

    __slots__ = ("_free_at_s", "bytes_per_s", "waited_s")

    def __init__(self, bytes_per_s: int | None) -> None:
        self.bytes_per_s = bytes_per_s
        self.waited_s = 0.0
        """What takers have waited altogether."""
        self._free_at_s = 0.0

    async def take(self, size: int) -> None:
        """Waits until what was taken before is paid for."""
        if self.bytes_per_s is None:
            return
        now_s = asyncio.get_running_loop().time()
        delay_s = self._free_at_s - now_s
        self._free_at_s = max(self._free_at_s, now_s - BURST_S) + size / self.bytes_per_s
        if delay_s > 0:
            self.waited_s += delay_s
            await asyncio.sleep(delay_s)
