"""The files of an engine's tables: numbering, opening, making, removing."""

from collections import deque
from collections.abc import Callable, Iterable

from runtime.disk import Disk, File
from runtime.randomness import Randomness
from storage.engine import Corruption
from storage.lsm.catalog import TableMeta, table_name, table_number
from storage.lsm.open_files import OpenFiles
from storage.lsm.options import OPEN_TABLES_MAX
from storage.lsm.read_counters import ReadCounters
from storage.lsm.table_reader import BlockCache, TableReader
from storage.lsm.version import Table

TABLE_ID_BYTES = 8


class Tables:
    """One directory."""

    def __init__(
        self,
        disk: Disk,
        path: str,
        cache: BlockCache,
        random: Randomness,
        next_number: int,
        *,
        open_max: int = OPEN_TABLES_MAX,
    ) -> None:
        """At most `open_max` tables have their file open; see `open_files.py`."""
        self.path = path
        self.cache = cache
        self.reads = ReadCounters()
        self.files = OpenFiles(disk, open_max)
        self.discarded: deque[Table] = deque()
        """Tables that nobody holds any more."""
        self._disk = disk
        self._random = random
        self._next_number = next_number
        # A dict, since the order of a set would differ from run to run.
        self._open: dict[Table, None] = {}
        self.on_discard: Callable[[], object] | None = None
        """Is called when there is something to sweep."""

    def next_number(self) -> int:
        """A number that no file has had."""
        self._next_number += 1
        return self._next_number - 1

    def reserve(self, count: int) -> int:
        """Sets numbers aside. The first of them."""
        self._next_number += count
        return self._next_number - count

    def peek_number(self) -> int:
        """What `next_number` will give."""
        return self._next_number

    def new_id(self) -> int:
        """What marks the blocks of one table, here and in every copy."""
        return int.from_bytes(self._random.bytes(TABLE_ID_BYTES), "little")

    async def create(self, number: int) -> File:
        """A new file."""
        return await self._disk.open(f"{self.path}/{table_name(number)}", create=True)

    async def sync_directory(self) -> None:
        """Makes new files' names durable."""
        await self._disk.sync_directory(self.path)

    async def open(self, meta: TableMeta) -> Table:
        """Opens a table that the manifest knows. Raises Corruption, also when it is not that table."""
        path = f"{self.path}/{meta.name}"
        try:
            file = await self.files.open(path)
        except FileNotFoundError as error:
            raise Corruption(path, 0, "the file is missing") from error
        try:
            reader = await TableReader.open(file, path, self.cache, table_id=meta.table_id, reads=self.reads)
            if reader.size_bytes != meta.size_bytes or reader.properties.count != meta.entries:
                raise Corruption(
                    path,
                    0,
                    f"it has {reader.size_bytes} bytes and {reader.properties.count} entries; the manifest says "
                    f"{meta.size_bytes} and {meta.entries}",
                )
        except BaseException:
            await file.close()
            raise
        table = Table(meta, reader, self._discard)
        self._open[table] = None
        return table

    async def open_all(self, metas: Iterable[TableMeta]) -> list[Table]:
        """Opens all, or none. Raises Corruption."""
        try:
            return [await self.open(meta) for meta in metas]
        except BaseException:
            await self.close()
            raise

    async def sweep_one(self) -> None:
        """Closes the table that was discarded first, and removes its file when it is obsolete."""
        table = self.discarded.popleft()
        self._open.pop(table, None)
        await table.reader.close()
        if table.obsolete:
            await self._disk.remove(f"{self.path}/{table.meta.name}")

    async def refuse_strays(self) -> None:
        """Raises Corruption when there are tables, in a directory whose manifest says nothing."""
        for name in await self._disk.list(self.path):
            if table_number(name) is not None:
                raise Corruption(
                    f"{self.path}/{name}", 0, "there are tables and no manifest: a checkpoint that was not finished?"
                )

    async def remove_orphans(self, known: Iterable[int]) -> int:
        """Removes the table files that the manifest does not know: what a crash left. Returns how many."""
        keep = set(known)
        removed = 0
        for name in await self._disk.list(self.path):
            number = table_number(name)
            if number is not None and number not in keep:
                await self._disk.remove(f"{self.path}/{name}")
                removed += 1
        return removed

    async def close(self) -> None:
        """Closes every table, whoever still holds it; removes nothing."""
        for table in list(self._open):
            await table.reader.close()
        self._open.clear()
        self.discarded.clear()

    def _discard(self, table: Table) -> None:
        self.discarded.append(table)
        if self.on_discard is not None:
            self.on_discard()
