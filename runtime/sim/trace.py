"""What happened, as one number, and as text when asked for.

Every step of the loop mixes (the callback's number, its task's number, whose it is, the time) into a running hash, and
network and disk mix in the checksums of the bytes that they carry. Two runs with equal hashes took the same steps at
the same times and moved the same bytes. The hash of a tuple of numbers does not depend on PYTHONHASHSEED.
"""

import zlib
from collections import deque
from typing import NamedTuple

STORY_EVENTS = 40
"""Events that a failure tells, the last ones."""


class Event(NamedTuple):
    """Something that a host, or the network, did or suffered."""

    virtual_s: float
    host: str
    what: str
    """In words; `sends` and `takes` of a message."""
    peer: str = ""
    """Of a message: the other host."""
    pipe: int = 0
    """Of a message: the number of its direction of its connection. What is taken there was sent there, in order."""
    size: int = 0
    """Of a message: bytes. What is taken at once may have been sent as several."""


class Trace:
    """The running hash. Steps are mixed in by SimLoop itself, in line, since they are the many."""

    __slots__ = ("events", "log", "recorded", "value")

    def __init__(self, *, record: bool) -> None:
        self.value = 0
        """The hash so far."""
        self.events: deque[tuple[float, str, str]] = deque(maxlen=STORY_EVENTS)
        """The last events: (virtual time, host, what)."""
        self.recorded: list[str] | None = [] if record else None
        """Every step and event as a line, when recording: compare those of two runs to see where they part."""
        self.log: list[Event] | None = [] if record else None
        """Every event and every message, when recording."""

    def mix(self, *numbers: float) -> None:
        """Mixes numbers in. No strings: their hashes differ from process to process."""
        self.value = hash((self.value, *numbers))

    def mix_bytes(self, data: bytes, *numbers: float) -> None:
        """Mixes a checksum of the bytes in, and the numbers."""
        self.value = hash((self.value, zlib.crc32(data), *numbers))

    def tell(self, virtual_s: float, host: str, what: str) -> None:
        """Notes an event that is worth telling: a fault, a boot, a connection."""
        self.mix_bytes(what.encode(), virtual_s)
        self.events.append((virtual_s, host, what))
        if self.recorded is not None:
            self.recorded.append(f"{virtual_s:.9f} {host} {what} [{self.hex()}]")
        if self.log is not None:
            self.log.append(Event(virtual_s, host, what))

    def hex(self) -> str:
        """The hash as 16 hexadecimal digits."""
        return f"{self.value & 0xFFFF_FFFF_FFFF_FFFF:016x}"

    def story(self) -> str:
        """The last events, a line each."""
        return "\n".join(f"  {time_s:12.6f} {host:<12} {what}" for time_s, host, what in self.events)
