"""The record of what clients asked and what they were told, as JSON lines in Jepsen's shape.

Every operation leaves an `invoke` line before it is sent, and one of `ok` (it took effect, and this is the answer),
`fail` (it did not happen and never will) or `info` (nobody knows; it may take effect at any later time). The file is
written while the run goes on and judged afterwards, from the file: what is judged is what anybody can read.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

Type = Literal["invoke", "ok", "fail", "info"]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line."""

    process: str
    """The client's name, or `nemesis` for what was done to the cluster."""
    type: Type
    f: str
    """What was asked: `put` or `get`; a fault's name for the nemesis."""
    op: int
    """Number of the operation within the process; an invocation and its outcome share it."""
    time_ns: int
    """Monotonic time of the process that recorded, in nanoseconds."""
    key: str = ""
    value: str = ""
    revision: int = 0
    """With `ok` of a put: the revision that the store gave it."""
    error: str = ""


@dataclass
class History:
    """Appends events to a file."""

    path: Path

    def __post_init__(self) -> None:
        self._file = self.path.open("wb")
        self._encode = msgspec.json.Encoder().encode

    def record(
        self,
        process: str,
        kind: Type,
        f: str,
        op: int,
        *,
        key: str = "",
        value: str = "",
        revision: int = 0,
        error: str = "",
    ) -> Event:
        """Writes one line, stamped now, and returns it."""
        event = Event(process, kind, f, op, time.monotonic_ns(), key, value, revision, error)
        self._file.write(self._encode(event) + b"\n")
        return event

    def close(self) -> None:
        """Lets the last line reach the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read(path: Path) -> list[Event]:
    """All events of a closed history, in the order in which they were recorded."""
    decode = msgspec.json.Decoder(Event).decode
    return [decode(line) for line in path.read_bytes().splitlines()]
