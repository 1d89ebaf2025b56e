"""Which tables there are: the state that the manifest's edits make, without any I/O."""

from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

FORMAT_VERSION = 1
TABLE_SUFFIX = ".table"
_NUMBER_DIGITS = 10


class CatalogError(ValueError):
    """An edit that does not parse, or does not fit what it should change."""


class TableMeta(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is known of a table without opening it."""

    number: int
    """Names the file; never used twice."""
    table_id: int
    """Marks its blocks: no other table has it, in whatever engine."""
    level: int
    run: int
    """Age within level 0: the table of a higher run is newer. Tables of the same run do not overlap. Deeper: 0."""
    size_bytes: int
    """Length of the file."""
    entries: int
    low: bytes
    """The least key or start of a range delete."""
    high: bytes
    """Above the greatest key, and not below the end of any range delete."""
    range_deletes: int
    deletions: int
    """Entries that delete."""
    expiring: bool
    """Whether an entry may expire."""
    created_ms: int
    """Wall time of its making."""

    @property
    def name(self) -> str:
        """The file's name in the engine's directory."""
        return table_name(self.number)

    def at(self, level: int, run: int) -> "TableMeta":
        """The same table at another place."""
        return msgspec.structs.replace(self, level=level, run=run)

    def overlaps(self, low: bytes, high: bytes) -> bool:
        """Whether it may say something of a key with low <= key < high."""
        return self.low < high and low < self.high


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What all versions of an edit begin with."""

    format_version: int


class Edit(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A record of the manifest. Later ones change what earlier ones made."""

    format_version: int = FORMAT_VERSION
    whole: bool = False
    """Whether it forgets everything before it: the first one, and those that let old segments be dropped."""
    removed: tuple[int, ...] = ()
    """Numbers of tables that are no more; taken out before `added` is put in."""
    added: tuple[TableMeta, ...] = ()
    next_number: int = 0
    """Files are numbered from here on; 0 says nothing."""
    log_lsn: int = 0
    """The engine's own log counts only behind this record; 0 says nothing."""
    operator: str | None = None
    """Name of the merge operator; None says nothing."""

    def encode(self) -> bytes:
        """The record."""
        return msgspec.msgpack.encode(self)

    @staticmethod
    def decode(record: bytes) -> "Edit":
        """Raises CatalogError."""
        try:
            # The version is looked at first: a later format need not look like this one behind it.
            version = msgspec.msgpack.decode(record, type=_Head).format_version
            if version != FORMAT_VERSION:
                raise CatalogError(f"format version {version} is not known; this is version {FORMAT_VERSION}")
            return msgspec.msgpack.decode(record, type=Edit)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CatalogError(f"an edit does not parse: {error}") from error


@dataclass(slots=True)
class Catalog:
    """The state. `apply` checks an edit wholly before it changes anything."""

    tables: dict[int, TableMeta] = field(default_factory=dict)
    next_number: int = 1
    log_lsn: int = 0
    operator: str | None = None

    def apply(self, edit: Edit) -> None:
        """Raises CatalogError when the edit does not fit."""
        tables = {} if edit.whole else dict(self.tables)
        for number in edit.removed:
            if tables.pop(number, None) is None:
                raise CatalogError(f"table {number} is removed, but is not there")
        for meta in edit.added:
            if meta.number in tables:
                raise CatalogError(f"table {meta.number} is added twice")
            if meta.low >= meta.high:
                raise CatalogError(f"table {meta.number} has bounds that hold nothing")
            tables[meta.number] = meta
        next_number = max(self.next_number, edit.next_number)
        if any(number >= next_number for number in tables):
            raise CatalogError("a table has a number that was not given out")
        runs_of(list(tables.values()))
        self.tables = tables
        self.next_number = next_number
        self.log_lsn = max(self.log_lsn, edit.log_lsn)
        if edit.operator is not None:
            self.operator = edit.operator

    def whole_edit(self) -> Edit:
        """One edit that makes this state from nothing."""
        return Edit(
            whole=True,
            added=tuple(self.tables.values()),
            next_number=self.next_number,
            log_lsn=self.log_lsn,
            operator=self.operator,
        )


def table_name(number: int) -> str:
    """The name of a table's file."""
    return f"{number:0{_NUMBER_DIGITS}d}{TABLE_SUFFIX}"


def table_number(name: str) -> int | None:
    """The number of a table's file; None for another file."""
    digits = name.removesuffix(TABLE_SUFFIX)
    if digits == name or not digits.isascii() or not digits.isdigit() or len(digits) < _NUMBER_DIGITS:
        return None
    return int(digits)


def runs_of(tables: list[TableMeta]) -> list[list[TableMeta]]:
    """The sorted runs, newest first, each ascending. Raises CatalogError when tables of a run overlap."""
    groups: dict[tuple[int, int], list[TableMeta]] = {}
    for meta in tables:
        groups.setdefault((meta.level, -meta.run), []).append(meta)
    runs: list[list[TableMeta]] = []
    for place in sorted(groups):
        run = sorted(groups[place], key=lambda meta: meta.low)
        for left, right in pairwise(run):
            if left.high > right.low:
                raise CatalogError(f"tables {left.number} and {right.number} of one run overlap")
        runs.append(run)
    return runs
