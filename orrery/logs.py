"""`orrery logs`: what the nodes print, a prefix a node."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from orrery.errors import OperatorError
from orrery.state import ClusterDirectory
from orrery.terminal import NODE_COLOURS, has_colour, paint

TAIL_BYTES_MAX = 1024 * 1024
"""How far back from its end a log is read."""
LINE_BYTES_MAX = 64 * 1024
"""Longer lines are shown in pieces."""
FOLLOW_S = 0.2
_LEVEL_COLOURS = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}
_OWN_FIELDS = ("time", "ts", "timestamp", "level", "logger", "message", "msg", "event", "node", "service")


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a file, oldest first; none when there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES_MAX))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return lines[-count:] if count > 0 else []


def logs(directory: ClusterDirectory, which: str | None, lines: int, *, follow: bool, raw: bool) -> int:
    """Prints the last lines of each log, merged by time, and then, with `follow`, what comes."""
    state = directory.require()
    names = [name for name, node in state.nodes.items() if which in (None, name, node.service)]
    if not names:
        known = ", ".join([*state.services, *state.nodes])
        raise OperatorError(f"there is no service or node {which!r}; there are: {known}", code=2)
    view = _View(names, raw=raw)
    followed = {name: _Followed(directory.log(name)) for name in names} if follow else {}
    records = [(_time_of(line), name, line) for name in names for line in last_lines(directory.log(name), lines)]
    # A line without a time belongs to the one before it, as the lines of a trace do.
    for index in range(1, len(records)):
        if not records[index][0] and records[index][1] == records[index - 1][1]:
            records[index] = (records[index - 1][0], *records[index][1:])
    for _, name, line in sorted(records, key=lambda record: record[0]):
        view.show(name, line)
    while follow:
        quiet = True
        for name, log in followed.items():
            for line in log.read():
                view.show(name, line)
                quiet = False
        if quiet:
            time.sleep(FOLLOW_S)
    return 0


class _Followed:
    """A growing file, from its end on; starts over with the new file when it was rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._inode = -1
        self._partial = b""
        self._open(at_end=True)

    def _open(self, *, at_end: bool) -> None:
        try:
            self._file = self._path.open("rb")
        except OSError:
            return
        self._inode = self._path.stat().st_ino
        if at_end:
            self._file.seek(0, 2)

    def read(self) -> list[str]:
        data = self._file.read(TAIL_BYTES_MAX) if self._file is not None else b""
        if not data:
            try:
                if self._path.stat().st_ino != self._inode:
                    if self._file is not None:
                        self._file.close()
                    self._open(at_end=False)
                    data = self._file.read(TAIL_BYTES_MAX) if self._file is not None else b""
            except OSError:
                return []
        *whole, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > LINE_BYTES_MAX:
            whole.append(self._partial)
            self._partial = b""
        return [line.decode(errors="replace") for line in whole]


class _View:
    """Prints lines under their node's prefix; JSON records as a person reads them, unless asked for raw."""

    def __init__(self, names: Sequence[str], *, raw: bool) -> None:
        self._width = max(len(name) for name in names)
        self._colours = {name: NODE_COLOURS[index % len(NODE_COLOURS)] for index, name in enumerate(names)}
        self._raw = raw or not sys.stdout.isatty()

    def show(self, name: str, line: str) -> None:
        prefix = paint(f"{name:<{self._width}} |", self._colours[name], sys.stdout)
        print(prefix, line if self._raw else readable(line), flush=True)


def readable(line: str) -> str:
    """A JSON log record as `12:00:01.234 info  message key=value`; any other line as it is."""
    record = _record(line)
    if record is None:
        return line
    stamp = str(_first(record, "time", "ts", "timestamp"))
    level = str(_first(record, "level")).lower()
    message = str(_first(record, "message", "msg", "event"))
    rest = " ".join(f"{key}={value}" for key, value in record.items() if key not in _OWN_FIELDS)
    clock = stamp[11:23] if "T" in stamp[:11] else stamp
    shown_level = f"{level:<7}"
    if has_colour(sys.stdout):
        shown_level = paint(shown_level, _LEVEL_COLOURS.get(level, "green"), sys.stdout)
        rest = paint(rest, "dim", sys.stdout) if rest else rest
    return " ".join(part for part in (clock, shown_level, message, rest) if part)


def _record(line: str) -> dict[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _first(record: dict[str, object], *names: str) -> object:
    return next((record[name] for name in names if name in record), "")


def _time_of(line: str) -> str:
    record = _record(line)
    return str(_first(record, "time", "ts", "timestamp")) if record is not None else ""
