"""Examines one table file, block by block: says what is damaged, and gives what is still readable.

Theory of operation: a table is blocks without gaps and a footer. As long as the index is whole it says where each data
block begins, and damage costs the blocks that it is in. Without it, blocks are found by walking from header to header;
behind a damaged one, by looking for the next place where a block with a valid checksum begins. Checksums start from the
table's id, which the footer and the properties both hold, and which whoever has a manifest can give.
"""

from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from xxhash import xxh3_64_intdigest

from runtime.disk import File
from storage.engine import Corruption
from storage.lsm.block import Block, decode_block
from storage.lsm.block_shape import BLOCK_MAGIC, FRAME_BYTES, HEADER_BYTES, BlockKind, stored_bytes
from storage.lsm.columns import Columns
from storage.lsm.table_format import FOOTER_BYTES, ID_DIGITS, Footer, TableProperties
from structures.blocked_bloom import BlockedBloom

DAMAGES_MAX = 1000
"""Damages that a report names; it counts all."""
_SEARCH_BYTES = 1 << 20
"""Read at once when looking for the next block."""
_PROPERTIES_WITHIN_BYTES = 1 << 20
"""How far before the end of the file the properties are looked for when the footer is damaged."""
_KIND_AT = len(BLOCK_MAGIC)


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not as it was written."""

    path: str
    offset: int
    """Where in the file the damaged block, or the footer, begins."""
    block: str
    """Which one: `data block 3`, `index`, `footer`."""
    what: str


@dataclass(slots=True)
class TableReport:
    """What an examination found."""

    path: str
    size_bytes: int = 0
    blocks: int = 0
    """Data blocks that are readable."""
    keys: int = 0
    """Keys in those."""
    damage_count: int = 0
    damages: list[Damage] = field(default_factory=list)
    """The first DAMAGES_MAX of them, as they were found."""
    properties: TableProperties | None = None
    """None when they cannot be read."""
    range_deletes: list[tuple[bytes, bytes]] | None = None
    """None when they cannot be read: then what the table deleted from older ones may come back."""

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage_count


@dataclass(slots=True)
class _Index:
    separators: list[bytes]
    offsets: list[int]


class TableExamination:
    """Drain `columns`; `report` is complete then."""

    def __init__(self, file: File, path: str, *, table_id: int | None = None) -> None:
        """`table_id`, when known, is what the table must have been written with. `path` is for messages."""
        self.report = TableReport(path)
        self._file = file
        self._path = path
        self._table_id = table_id
        self._bloom: BlockedBloom | None = None
        self._hidden = 0
        self._smallest: bytes | None = None
        self._last: bytes | None = None

    async def columns(self) -> AsyncIterator[Columns]:
        """What is readable, ascending. Raises OSError when the file cannot be read at all."""
        report = self.report
        report.size_bytes = await self._file.size()
        footer = await self._read_footer()
        if self._table_id is None:
            self._table_id = await self._find_table_id()
            if self._table_id is None:
                self._damaged(0, "table", "its id is lost, and with it what all checksums start from")
                return
        index = None
        end = report.size_bytes - FOOTER_BYTES
        if footer is not None:
            end = footer.filter_at
            index = await self._read_sections(footer)
        if index is not None:
            places = index.offsets
            for number, (start, stop) in enumerate(pairwise([*places, end])):
                columns = await self._examine_data(number, start, stop, index)
                if columns is not None:
                    yield columns
        else:
            async for columns in self._walk(0, end, known_end=footer is not None):
                yield columns
        self._compare()

    def _damaged(self, offset: int, block: str, what: str) -> None:
        report = self.report
        report.damage_count += 1
        if len(report.damages) < DAMAGES_MAX:
            report.damages.append(Damage(self._path, offset, block, what))

    async def _read_footer(self) -> Footer | None:
        offset = self.report.size_bytes - FOOTER_BYTES
        try:
            footer = Footer.decode(await self._file.pread(FOOTER_BYTES, max(0, offset)), path=self._path, offset=offset)
        except Corruption as error:
            self._damaged(error.offset, "footer", error.what)
            return None
        if self._table_id is not None and self._table_id != footer.table_id:
            self._damaged(offset, "footer", f"this is table {footer.table_id}, not {self._table_id}")
        self._table_id = footer.table_id
        return footer

    async def _find_table_id(self) -> int | None:
        """What the properties say, when they can be found without the footer."""
        start = max(0, self.report.size_bytes - _PROPERTIES_WITHIN_BYTES)
        data = await self._file.pread(_PROPERTIES_WITHIN_BYTES, start)
        mark = BLOCK_MAGIC + bytes([BlockKind.PROPERTIES])
        at = data.rfind(mark)
        while at >= 0:
            found = self._guess_table_id(data[at:], start + at)
            if found is not None:
                return found
            at = data.rfind(mark, 0, at)
        return None

    def _guess_table_id(self, data: bytes, offset: int) -> int | None:
        """The id that the properties name, if they validate with it."""
        try:
            block = data[: stored_bytes(data[:HEADER_BYTES])]
        except ValueError:
            return None
        digits = block[: HEADER_BYTES - FRAME_BYTES][-ID_DIGITS:]
        if not digits.isdigit():
            return None
        candidate = int(digits)
        try:
            decode_block(block, path=self._path, offset=offset, table_id=candidate, kind=BlockKind.PROPERTIES)
        except Corruption:
            return None
        return candidate

    async def _read_sections(self, footer: Footer) -> _Index | None:
        """Everything behind the data. The index, when it is whole."""
        report = self.report
        footer_at = report.size_bytes - FOOTER_BYTES
        places = [footer.filter_at, footer.range_deletes_at, footer.index_at, footer.properties_at, footer_at]
        kinds = [BlockKind.FILTER, BlockKind.RANGE_DELETES, BlockKind.INDEX, BlockKind.PROPERTIES]
        index: _Index | None = None
        for kind, (start, end) in zip(kinds, pairwise(places), strict=True):
            name = kind.name.lower().replace("_", " ")
            try:
                block = await self._block(start, end, kind)
                if kind is BlockKind.FILTER:
                    self._bloom = BlockedBloom(block.value_column())
                elif kind is BlockKind.RANGE_DELETES:
                    report.range_deletes = list(_values(block).items())
                elif kind is BlockKind.PROPERTIES:
                    report.properties = TableProperties.decode(_values(block))
                else:
                    index = _read_index(block, footer.filter_at)
            except Corruption as error:
                self._damaged(start, name, error.what)
            except ValueError as error:
                self._damaged(start, name, str(error))
        return index

    async def _block(self, start: int, end: int, kind: BlockKind) -> Block:
        assert self._table_id is not None
        data = await self._file.pread(end - start, start)
        return decode_block(data, path=self._path, offset=start, table_id=self._table_id, kind=kind)

    async def _examine_data(self, number: int, start: int, end: int, index: _Index | None) -> Columns | None:
        """The content of a data block, or None when it is damaged."""
        name = f"data block {number}"
        try:
            columns = (await self._block(start, end, BlockKind.DATA)).columns()
            self._check_order(columns, number, index)
        except Corruption as error:
            self._damaged(start, name, error.what)
            return None
        except ValueError as error:
            self._damaged(start, name, str(error))
            return None
        self.report.blocks += 1
        self.report.keys += len(columns.keys)
        if self._smallest is None:
            self._smallest = columns.keys[0]
        self._last = columns.keys[-1]
        bloom = self._bloom
        if bloom is not None and not all(map(bloom.may_contain, map(xxh3_64_intdigest, columns.keys))):
            self._hidden += 1
            self._damaged(start, name, "the filter denies some of its keys")
        return columns

    def _check_order(self, columns: Columns, number: int, index: _Index | None) -> None:
        keys = columns.keys
        if not keys:
            raise ValueError("it is empty")
        if self._last is not None and keys[0] <= self._last:
            raise ValueError("its keys do not follow those before it")
        if any(map(bytes.__ge__, keys, keys[1:])):
            raise ValueError("its keys do not ascend")
        if index is not None:
            separators = index.separators
            if bisect_left(separators, keys[0]) != number or bisect_left(separators, keys[-1]) != number:
                raise ValueError("its keys are not where the index looks for them")

    async def _walk(self, offset: int, end: int, *, known_end: bool) -> AsyncIterator[Columns]:
        """Data blocks found from header to header. Without a footer, what follows the data tells where it ends."""
        number = 0
        while offset < end:
            header = await self._file.pread(HEADER_BYTES, offset)
            try:
                stop = offset + stored_bytes(header)
                if stop > end:
                    raise ValueError("it reaches beyond the data")
                kind = BlockKind(header[_KIND_AT])
                if kind is not BlockKind.DATA and not known_end:
                    await self._read_unplaced(offset, stop, kind)
                    offset = stop
                    continue
                await self._block(offset, stop, BlockKind.DATA)
            except (Corruption, ValueError) as error:
                what = error.what if isinstance(error, Corruption) else str(error)
                self._damaged(offset, f"data block {number}", what)
                offset = await self._next_block(offset + 1, end)
            else:
                columns = await self._examine_data(number, offset, stop, None)
                if columns is not None:
                    yield columns
                offset = stop
            number += 1

    async def _read_unplaced(self, start: int, end: int, kind: BlockKind) -> None:
        """A section, met on a walk without a footer."""
        block = await self._block(start, end, kind)
        if kind is BlockKind.RANGE_DELETES:
            self.report.range_deletes = list(_values(block).items())
        elif kind is BlockKind.PROPERTIES:
            self.report.properties = TableProperties.decode(_values(block))

    async def _next_block(self, offset: int, end: int) -> int:
        """Where the next block whose checksum holds begins; `end` when there is none."""
        assert self._table_id is not None
        while offset < end:
            data = await self._file.pread(min(_SEARCH_BYTES + len(BLOCK_MAGIC) - 1, end - offset), offset)
            at = data.find(BLOCK_MAGIC)
            while at >= 0:
                if await self._is_block(offset + at, end):
                    return offset + at
                at = data.find(BLOCK_MAGIC, at + 1)
            offset += _SEARCH_BYTES
        return end

    async def _is_block(self, start: int, end: int) -> bool:
        header = await self._file.pread(HEADER_BYTES, start)
        try:
            stop = start + stored_bytes(header)
            if stop > end:
                return False
            await self._block(start, stop, BlockKind(header[_KIND_AT]))
        except (Corruption, ValueError):
            return False
        return True

    def _compare(self) -> None:
        """What was found with what the properties say; only telling when no block is damaged."""
        report = self.report
        properties = report.properties
        if properties is None or not report.whole:
            return
        at = report.size_bytes - FOOTER_BYTES
        if properties.count != report.keys:
            self._damaged(at, "properties", f"they say {properties.count} keys, and there are {report.keys}")
        elif report.keys and (properties.smallest, properties.largest) != (self._smallest, self._last):
            self._damaged(at, "properties", "their first and last keys are not those of the table")


async def verify_table(file: File, path: str, *, table_id: int | None = None) -> TableReport:
    """Reads all of a table. Raises OSError when the file cannot be read; damage is in the report."""
    examination = TableExamination(file, path, table_id=table_id)
    async for _columns in examination.columns():
        pass
    return examination.report


def _values(block: Block) -> dict[bytes, bytes]:
    return {key: entry for key, entry in zip(block.keys(), block.entries(), strict=True) if isinstance(entry, bytes)}


def _read_index(block: Block, end: int) -> _Index:
    separators = list(block.keys())
    column = block.value_column()
    if len(column) != 8 * len(separators):
        raise ValueError(f"{len(separators)} keys have {len(column)} bytes of offsets")
    offsets = [int.from_bytes(column[at : at + 8], "little") for at in range(0, len(column), 8)]
    ascending: Sequence[int] = [*offsets, end]
    if ascending[0] or any(map(int.__ge__, ascending, ascending[1:])):
        raise ValueError("its offsets do not ascend from the beginning of the file to the end of the data")
    return _Index(separators, offsets)
