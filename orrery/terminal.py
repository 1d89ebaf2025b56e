"""What the operator sees: sober, in colour only where a terminal asks for it."""

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
NODE_COLOURS = ("36", "33", "35", "32", "34", "31")
STATE_COLOURS = {
    "running": "green",
    "unready": "yellow",
    "stopped": "dim",
    "killed": "yellow",
    "crashed": "red",
    "passing": "green",
    "warning": "yellow",
    "critical": "red",
}


def has_colour(stream: TextIO) -> bool:
    """Whether escape codes are wanted: a terminal, not dumb, and no NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO) -> str:
    """The text in a colour where that is wanted."""
    code = _CODES.get(colour, colour)
    return f"\x1b[{code}m{text}\x1b[0m" if has_colour(stream) else text


def table(header: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> str:
    """Rows in columns two spaces apart. States are coloured."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(row: Sequence[str], *, head: bool = False) -> str:
        cells = []
        for cell, width in zip(row, widths, strict=True):
            colour = "dim" if head else STATE_COLOURS.get(cell)
            padding = " " * (width - len(cell))
            cells.append((paint(cell, colour, stream) if colour else cell) + padding)
        return "  ".join(cells).rstrip()

    return "\n".join([line(header, head=True), *(line(row) for row in rows)])


class Progress:
    """A line a node. On a terminal the lines are drawn over; elsewhere each change is a line of its own."""

    def __init__(self, names: Sequence[str], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._lines = dict.fromkeys(names, "")
        self._width = max((len(name) for name in names), default=0)
        self._drawn = False

    def update(self, name: str, text: str, colour: str = "") -> None:
        """Says what a node is doing now."""
        if has_colour(self._stream):
            # A line that wraps would be two, and the cursor would go back one too few.
            room = shutil.get_terminal_size().columns - self._width - 3
            text = text if len(text) <= room else text[: max(0, room - 1)] + "…"
        shown = paint(text, colour, self._stream) if colour else text
        if self._lines[name] == shown:
            return
        self._lines[name] = shown
        if not has_colour(self._stream):
            print(f"{name:<{self._width}}  {text}", file=self._stream, flush=True)
            return
        if self._drawn:
            self._stream.write(f"\x1b[{len(self._lines)}A")
        for other, line in self._lines.items():
            self._stream.write(f"\x1b[2K{other:<{self._width}}  {line}\n")
        self._stream.flush()
        self._drawn = True


def complain(message: str) -> None:
    """An error to stderr, with its origin."""
    print(f"{paint('orrery:', 'red', sys.stderr)} {message}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """`42s`, `3m10s`, `2h05m`, `4d02h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"
