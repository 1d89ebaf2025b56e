"""How large entries count against the core's limits."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from operator import itemgetter

from cluster.raft.core.types import Entry

ENTRY_OVERHEAD_BYTES = 16
"""Added to each entry's data: without it, empty entries would pass every limit in any number."""

ENTRIES_PER_SLICE_MAX = 8192
"""The most entries read from the log at once: a follower that is far behind must not cost a scan of all it lacks."""

_data = itemgetter(3)


def entries_bytes(entries: Sequence[Entry]) -> int:
    """What these entries count against a limit."""
    return sum(map(len, map(_data, entries))) + ENTRY_OVERHEAD_BYTES * len(entries)


def commands_bytes(commands: Sequence[bytes]) -> int:
    """What these commands will count once they are entries."""
    return sum(map(len, commands)) + ENTRY_OVERHEAD_BYTES * len(commands)


def fit_entries(entries: list[Entry], bytes_max: int) -> list[Entry]:
    """The longest prefix within `bytes_max`, but at least one entry. Returns its argument when all fit."""
    if entries_bytes(entries) <= bytes_max:
        return entries
    ends = accumulate(len(entry.data) + ENTRY_OVERHEAD_BYTES for entry in entries)
    return entries[: max(1, bisect_right(list(ends), bytes_max))]
