"""The manifest: the durable sequence of edits, kept in a write-ahead log of its own.

The log of `storage.wal` has what a manifest needs: records that are whole or absent after a crash, and the difference
between a torn tail, which never counted, and damage, which must be named. It replaces the usual file with a pointer to
it: when it has grown, one record that holds everything is appended, and the segments before it are dropped.

Without the manifest nobody can tell which of two tables is older, so it is kept twice: the copy is a log in another
directory that gets every edit, too. Opening reads the first and brings the copy up to it; `repair` reads the copy.
"""

import asyncio
from contextlib import suppress

from runtime.clock import Clock
from runtime.disk import Disk
from runtime.failpoints import failpoint, register
from runtime.randomness import Randomness
from storage.engine import Corruption
from storage.lsm.catalog import Catalog, CatalogError, Edit
from storage.wal import Wal, WalCorrupted

DIRECTORY = "manifest"
COPY_DIRECTORY = "manifest-copy"
EDIT_BYTES_MAX = 64 << 20
"""An edit of more is refused: some 500,000 tables."""

BEFORE_EDIT = register("lsm.manifest.before_edit")
AFTER_EDIT = register("lsm.manifest.after_edit")
BEFORE_REWRITE = register("lsm.manifest.before_rewrite")
BEFORE_DROP = register("lsm.manifest.before_drop")


class Manifest:
    """Made by `open`. One edit at a time: the caller sees to that."""

    def __init__(self, wal: Wal, copy: Wal, catalog: Catalog, segment_bytes: int, *, is_new: bool) -> None:
        self._wal = wal
        self._copy = copy
        self._segment_bytes = segment_bytes
        self._rewrite_at_bytes = 2 * segment_bytes
        self.catalog = catalog
        """What the edits have made so far."""
        self.is_new = is_new
        """Whether it held nothing when it was opened."""

    @staticmethod
    async def open(disk: Disk, path: str, *, clock: Clock, random: Randomness, segment_bytes: int) -> "Manifest":
        """Opens or makes the manifest of the engine in `path`. Raises Corruption and OSError."""

        async def open_log(directory: str) -> tuple[Wal, Catalog, bool]:
            return await _open_log(disk, f"{path}/{directory}", clock, random, segment_bytes)

        wal, catalog, known = await open_log(DIRECTORY)
        try:
            try:
                copy, copied, copy_known = await open_log(COPY_DIRECTORY)
            except Corruption:
                # The first is whole, so nothing is lost with the copy.
                await _remove_files(disk, f"{path}/{COPY_DIRECTORY}")
                copy, copied, copy_known = await open_log(COPY_DIRECTORY)
            manifest = Manifest(wal, copy, catalog, segment_bytes, is_new=not known)
            if known and not (copy_known and copied == catalog):
                await copy.append([catalog.whole_edit().encode()])
        except BaseException:
            with suppress(OSError):
                await wal.close()
            raise
        return manifest

    async def append(self, edit: Edit) -> None:
        """Makes an edit durable, then applies it. Raises CatalogError (nothing happened), SyncFailed."""
        changed = Catalog(dict(self.catalog.tables), self.catalog.next_number, self.catalog.log_lsn)
        changed.apply(edit)
        failpoint(BEFORE_EDIT)
        record = edit.encode()
        await asyncio.gather(self._wal.append([record]), self._copy.append([record]))
        failpoint(AFTER_EDIT)
        self.catalog.apply(edit)
        if self._wal.bytes_total > self._rewrite_at_bytes:
            await self._rewrite()

    async def _rewrite(self) -> None:
        failpoint(BEFORE_REWRITE)
        record = self.catalog.whole_edit().encode()
        numbers = await asyncio.gather(self._wal.append([record]), self._copy.append([record]))
        failpoint(BEFORE_DROP)
        await self._wal.drop_before(numbers[0])
        await self._copy.drop_before(numbers[1])
        self._rewrite_at_bytes = 2 * (self._segment_bytes + len(record))

    async def close(self) -> None:
        """Closes the logs. Raises SyncFailed when that, or anything before, failed."""
        try:
            await self._wal.close()
        finally:
            await self._copy.close()

    @property
    def bytes_total(self) -> int:
        """What it takes on the disk, without the copy."""
        return self._wal.bytes_total


async def replace_manifest(
    disk: Disk, path: str, catalog: Catalog, *, clock: Clock, random: Randomness, segment_bytes: int
) -> None:
    """Makes both logs anew. The first one first: until it is whole, the copy is what there is.

    Raises OSError; a crash in between leaves at least one of them as it was.
    """
    for directory in (DIRECTORY, COPY_DIRECTORY):
        full = f"{path}/{directory}"
        await disk.make_directory(full)
        await _remove_files(disk, full)
        wal, _catalog, _known = await _open_log(disk, full, clock, random, segment_bytes)
        try:
            await wal.append([catalog.whole_edit().encode()])
        finally:
            await wal.close()


async def _open_log(
    disk: Disk, directory: str, clock: Clock, random: Randomness, segment_bytes: int
) -> tuple[Wal, Catalog, bool]:
    """A log, what its edits make, and whether there is one that they start from. Raises Corruption."""
    catalog = Catalog()
    known = False
    try:
        wal, recovered = await Wal.open(
            disk,
            directory,
            random=random,
            clock=clock,
            segment_bytes_max=segment_bytes,
            record_bytes_max=EDIT_BYTES_MAX,
        )
        async for lsn, record in recovered:
            try:
                edit = Edit.decode(record)
                # Segments that could not be dropped in time may begin with edits of a state that is gone.
                known = known or edit.whole
                if known:
                    catalog.apply(edit)
            except CatalogError as error:
                raise Corruption(directory, lsn, f"edit {lsn}: {error}") from error
    except WalCorrupted as error:
        raise Corruption(error.file, error.offset, f"the manifest is damaged: {error.reason}") from error
    if not known and wal.next_lsn > 1:
        raise Corruption(directory, 0, "the manifest holds edits, but none that they start from")
    return wal, catalog, known


async def _remove_files(disk: Disk, directory: str) -> None:
    for name in await disk.list(directory):
        await disk.remove(f"{directory}/{name}")
    await disk.sync_directory(directory)
