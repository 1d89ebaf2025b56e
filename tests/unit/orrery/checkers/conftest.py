"""Histories written down by hand."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest

from orrery.checkers.history import Event, EventType, History, Json, Key, pair

Row: TypeAlias = "tuple[int, EventType, str, Json] | tuple[int, EventType, str, Json, Key]"
"""Process, type, f, value, and the key when there is one."""
Made: TypeAlias = Callable[[Sequence[Row]], History]


@pytest.fixture
def made() -> Made:
    def make(rows: Sequence[Row]) -> History:
        events = []
        for line, row in enumerate(rows, 1):
            process, kind, f, value, *key = row
            events.append(Event(line, process, kind, f, key[0] if key else None, value, line * 1_000_000))
        return pair(events)

    return make
