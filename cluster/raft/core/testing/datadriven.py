"""Test cases as text: a command, its input, a line of dashes, and what it printed.

The format is the one of Go's `datadriven` package, so that etcd-io/raft's own cases can be run:

    command key=value key=(a,b) word
    input lines
    ----
    expected lines

A case ends at an empty line; lines that start with `#` before a command are comments.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

SEPARATOR = "----"
_TOKEN = re.compile(r"(\S+?)=\(([^)]*)\)|(\S+?)=(\S+)|(\S+)")


@dataclass(frozen=True, slots=True)
class Case:
    """One command with what it should print."""

    line: int
    """Where it starts in the file, from 1."""
    command: str
    words: tuple[str, ...]
    """Arguments without a key."""
    arguments: dict[str, tuple[str, ...]]
    """Arguments with a key; `key=(a, b)` has two values."""
    input: str
    expected: str
    source: str
    """The lines before the separator, comments included: what a rewritten file keeps."""


def parse(text: str) -> Iterator[Case]:
    """The cases of one file, in order. Raises ValueError for a command without a separator."""
    lines = text.split("\n")
    position = 0
    while position < len(lines):
        start = position
        while position < len(lines) and (not lines[position].strip() or lines[position].startswith("#")):
            position += 1
        if position == len(lines):
            return
        head = position
        while position < len(lines) and lines[position] != SEPARATOR:
            position += 1
        if position == len(lines):
            raise ValueError(f"line {head + 1}: no {SEPARATOR} after the command")
        source = "\n".join(lines[start:position])
        entered = "\n".join(lines[head + 1 : position])
        position += 1
        expected = []
        while position < len(lines) and lines[position].strip():
            expected.append(lines[position])
            position += 1
        command, _, rest = lines[head].strip().partition(" ")
        words, arguments = _arguments(rest)
        yield Case(head + 1, command, words, arguments, entered, "\n".join(expected), source.strip("\n"))


def _arguments(text: str) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    words: list[str] = []
    arguments: dict[str, tuple[str, ...]] = {}
    for key_many, values, key_one, value, word in _TOKEN.findall(text):
        if key_many:
            arguments[key_many] = tuple(part.strip() for part in values.split(",")) if values.strip() else ()
        elif key_one:
            arguments[key_one] = (value,)
        else:
            words.append(word)
    return tuple(words), arguments
