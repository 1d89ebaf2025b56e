"""The records with which all groups of a host share one write-ahead log.

Every record is one payload of `storage.wal`, which brings its own length and checksum. Little-endian throughout:

    every record   kind u8, group u64
    HARD_STATE     term u64, vote u64, commit u64
    ENTRIES        first index u64, count u32, then for each: term u64, kind u8, length u32; then the data of all
    MARK           hard state as above; base index u64, base term u64; snapshot index u64, snapshot term u64;
                   flags u8; configuration: auto_leave u8, four times (count u16, member ids u64)
    STANDING       stage u8, complete u8, life u64; count u16, then for each member known: id u64, life u64

Meaning of a replay, per group: HARD_STATE replaces the one before. ENTRIES replaces everything from its first index
on. MARK says that all needed state up to its place is: the hard state it repeats, the snapshot it names (index 0: the
empty state under the initial configuration), and the entries after `base`, which it lets anyone forget up to there.
With the flag RESET it also forgets every entry: the snapshot came from a leader and the old log may contradict it.
STANDING replaces the one before; without any, the log is from before there were lives, and the member is settled.
Because a MARK repeats all that is not entries, and a STANDING stands behind each, records before it are needed only for
the entries they hold.
"""

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from cluster.raft.core.types import Configuration, Entry, EntryKind, HardState, SnapshotMeta, Stage, Standing

RECORD_BYTES_MAX = 1 << 20
"""A record of several entries is cut at about this size; one large entry makes a larger record."""
ENTRY_BYTES_MAX = 64 << 20
"""The longest data of one entry that is written or read back."""
ENTRIES_COUNT_MAX = 1 << 16
"""The most entries in one record."""
MEMBERS_COUNT_MAX = 1 << 10
"""The most members in one set of a configuration."""

_HEAD = struct.Struct("<BQ")
_HARD = struct.Struct("<QQQ")
_RUN = struct.Struct("<QI")
_ENTRY = struct.Struct("<QBI")
_MARK = struct.Struct("<QQQQQQQBB")
_COUNT = struct.Struct("<H")
_STANDING = struct.Struct("<BBQH")
_LIFE = struct.Struct("<QQ")
_RESET = 1


class RecordKind(IntEnum):
    """What a record holds."""

    HARD_STATE = 1
    ENTRIES = 2
    MARK = 3
    STANDING = 4


class BadRecord(ValueError):
    """The bytes are not a record of this format."""


class HardStateRecord(NamedTuple):
    """A new hard state."""

    group: int
    hard_state: HardState


class EntriesRecord(NamedTuple):
    """A run of entries with consecutive indexes, at least one."""

    group: int
    entries: list[Entry]


class Mark(NamedTuple):
    """Where a group's log begins, and what stands before it."""

    group: int
    hard_state: HardState
    base_index: int
    """Entries up to here are compacted away."""
    base_term: int
    """The term of the entry at `base_index`, 0 at index 0."""
    snapshot: SnapshotMeta
    reset: bool
    """The snapshot replaces the log, too."""


class StandingRecord(NamedTuple):
    """What the member knows about lives of logs."""

    group: int
    standing: Standing


Record = HardStateRecord | EntriesRecord | Mark | StandingRecord


def encode_hard_state(group: int, hard_state: HardState) -> bytes:
    """One HARD_STATE record."""
    return _HEAD.pack(RecordKind.HARD_STATE, group) + _HARD.pack(*hard_state)


def encode_entries(group: int, entries: Sequence[Entry]) -> Iterator[tuple[int, int, bytes]]:
    """ENTRIES records for a run of entries with consecutive indexes: (first index, last index, record)."""
    start = 0
    while start < len(entries):
        end = start
        size = 0
        while end < len(entries) and end - start < ENTRIES_COUNT_MAX:
            size += len(entries[end].data)
            if size > RECORD_BYTES_MAX and end > start:
                break
            end += 1
        run = entries[start:end] if start or end < len(entries) else entries
        first = run[0].index
        parts = [_HEAD.pack(RecordKind.ENTRIES, group), _RUN.pack(first, len(run))]
        pack = _ENTRY.pack
        parts += [pack(entry[1], entry[2], len(entry[3])) for entry in run]
        parts += [entry[3] for entry in run]
        yield first, first + len(run) - 1, b"".join(parts)
        start = end


def encode_mark(mark: Mark) -> bytes:
    """One MARK record."""
    configuration = mark.snapshot.configuration
    parts = [
        _HEAD.pack(RecordKind.MARK, mark.group),
        _MARK.pack(
            *mark.hard_state,
            mark.base_index,
            mark.base_term,
            mark.snapshot.index,
            mark.snapshot.term,
            _RESET if mark.reset else 0,
            configuration.auto_leave,
        ),
        encode_members(configuration),
    ]
    return b"".join(parts)


def encode_standing(group: int, standing: Standing) -> bytes:
    """One STANDING record."""
    parts = [
        _HEAD.pack(RecordKind.STANDING, group),
        _STANDING.pack(standing.stage, standing.complete, standing.life, len(standing.known)),
    ]
    parts += [_LIFE.pack(*pair) for pair in standing.known]
    return b"".join(parts)


def encode_members(configuration: Configuration) -> bytes:
    """The four member sets of a configuration, without `auto_leave`."""
    parts = []
    for members in configuration[:4]:
        parts.append(_COUNT.pack(len(members)))
        parts.append(struct.pack(f"<{len(members)}Q", *sorted(members)))
    return b"".join(parts)


def decode_members(payload: bytes, at: int, *, auto_leave: bool) -> tuple[Configuration, int]:
    """A configuration whose member sets begin at `at`, and where they end. Raises BadRecord."""
    sets = []
    try:
        for _ in range(4):
            (count,) = _COUNT.unpack_from(payload, at)
            if count > MEMBERS_COUNT_MAX:
                raise BadRecord(f"{count} members")
            at += 2
            sets.append(frozenset(struct.unpack_from(f"<{count}Q", payload, at)))
            at += 8 * count
    except struct.error as error:
        raise BadRecord("a configuration is cut short") from error
    return Configuration(sets[0], sets[1], sets[2], sets[3], auto_leave), at


def decode(payload: bytes) -> Record:
    """Reads one record. Raises BadRecord."""
    try:
        kind, group = _HEAD.unpack_from(payload)
        if kind == RecordKind.HARD_STATE:
            if len(payload) != _HEAD.size + _HARD.size:
                raise BadRecord(f"a hard state of {len(payload)} bytes")
            return HardStateRecord(group, HardState(*_HARD.unpack_from(payload, _HEAD.size)))
        if kind == RecordKind.ENTRIES:
            return EntriesRecord(group, _decode_entries(payload))
        if kind == RecordKind.MARK:
            return _decode_mark(payload, group)
        if kind == RecordKind.STANDING:
            return StandingRecord(group, _decode_standing(payload))
    except struct.error as error:
        raise BadRecord("a record is cut short") from error
    raise BadRecord(f"unknown kind {kind}")


def _decode_entries(payload: bytes) -> list[Entry]:
    index, count = _RUN.unpack_from(payload, _HEAD.size)
    at = _HEAD.size + _RUN.size
    data_at = at + count * _ENTRY.size
    if not 0 < count <= ENTRIES_COUNT_MAX or data_at > len(payload):
        raise BadRecord(f"{count} entries in {len(payload)} bytes")
    entries = []
    for term, kind, length in _ENTRY.iter_unpack(payload[at:data_at]):
        end = data_at + length
        if length > ENTRY_BYTES_MAX or end > len(payload) or kind > EntryKind.CONFIGURATION:
            raise BadRecord(f"entry {index}: kind {kind}, {length} bytes")
        entries.append(Entry(index, term, _KINDS[kind], payload[data_at:end]))
        index += 1
        data_at = end
    if data_at != len(payload):
        raise BadRecord(f"{len(payload) - data_at} bytes too many")
    return entries


def _decode_standing(payload: bytes) -> Standing:
    stage, complete, life, count = _STANDING.unpack_from(payload, _HEAD.size)
    at = _HEAD.size + _STANDING.size
    if stage not in _STAGES or complete > 1 or count > MEMBERS_COUNT_MAX or len(payload) != at + count * _LIFE.size:
        raise BadRecord(f"a standing of stage {stage}, {complete}, {count} members in {len(payload)} bytes")
    known = tuple((member, other) for member, other in _LIFE.iter_unpack(payload[at:]))
    return Standing(_STAGES[stage], life, bool(complete), known)


def _decode_mark(payload: bytes, group: int) -> Mark:
    term, vote, commit, base_index, base_term, index, snapshot_term, flags, leave = _MARK.unpack_from(
        payload, _HEAD.size
    )
    if flags > _RESET or leave > 1:
        raise BadRecord(f"a mark with flags {flags}, {leave}")
    configuration, end = decode_members(payload, _HEAD.size + _MARK.size, auto_leave=bool(leave))
    if end != len(payload):
        raise BadRecord(f"{len(payload) - end} bytes too many")
    if base_index > index:
        raise BadRecord(f"compacted to {base_index}, beyond the snapshot at {index}")
    return Mark(
        group,
        HardState(term, vote, commit),
        base_index,
        base_term,
        SnapshotMeta(index, snapshot_term, configuration),
        bool(flags & _RESET),
    )


_KINDS = tuple(EntryKind)
_STAGES = {int(stage): stage for stage in Stage}
