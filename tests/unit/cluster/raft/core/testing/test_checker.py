"""The judge must be able to condemn."""

import pytest

from cluster.raft.core import MemoryLog
from cluster.raft.core.testing import Checker, Violation
from cluster.raft.core.types import Entry, EntryKind


def entry(index: int, term: int, data: bytes = b"") -> Entry:
    return Entry(index, term, EntryKind.COMMAND, data)


def test_log_matching() -> None:
    checker = Checker()
    one = MemoryLog(entries=[entry(1, 1, b"a"), entry(2, 2)])
    other = MemoryLog(entries=[entry(1, 1, b"b"), entry(2, 2)])
    with pytest.raises(Violation, match="log matching"):
        checker.check_logs([one, other])
    checker.check_logs([one, MemoryLog(entries=[entry(1, 1, b"a"), entry(2, 1)])])


def test_durability() -> None:
    checker = Checker()
    checker.applied[1] = entry(1, 1)
    held, empty = MemoryLog(entries=[entry(1, 1)]), MemoryLog()
    checker.check_durable([held, held, empty], 3)
    with pytest.raises(Violation, match="durability"):
        checker.check_durable([held, empty, empty], 3)
