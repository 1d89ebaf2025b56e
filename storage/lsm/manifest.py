"""The manifest: the durable sequence of edits, kept in a write-ahead log of its own.

The log of `storage.wal` has what a manifest needs: records that are whole or absent after a crash, and the difference
between a torn tail, which never counted, and damage, which must be named. It replaces the usual file with a pointer to
it: when it has grown, one record that holds everything is appended, and the segments before it are dropped.
"""

from runtime.clock import Clock
from runtime.disk import Disk
from runtime.failpoints import failpoint, register
from runtime.randomness import Randomness
from storage.engine import Corruption
from storage.lsm.catalog import Catalog, CatalogError, Edit
from storage.wal import Wal, WalCorrupted

DIRECTORY = "manifest"
EDIT_BYTES_MAX = 64 << 20
"""An edit of more is refused: some 500,000 tables."""

BEFORE_EDIT = register("lsm.manifest.before_edit")
AFTER_EDIT = register("lsm.manifest.after_edit")
BEFORE_REWRITE = register("lsm.manifest.before_rewrite")
BEFORE_DROP = register("lsm.manifest.before_drop")


class Manifest:
    """Made by `open`. One edit at a time: the caller sees to that."""

    def __init__(self, wal: Wal, catalog: Catalog, path: str, segment_bytes: int, *, is_new: bool) -> None:
        self._wal = wal
        self._path = path
        self._segment_bytes = segment_bytes
        self._rewrite_at_bytes = 2 * segment_bytes
        self.catalog = catalog
        """What the edits have made so far."""
        self.is_new = is_new
        """Whether it held nothing when it was opened."""

    @staticmethod
    async def open(disk: Disk, path: str, *, clock: Clock, random: Randomness, segment_bytes: int) -> "Manifest":
        """Opens or makes the manifest of the engine in `path`. Raises Corruption and OSError."""
        directory = f"{path}/{DIRECTORY}"
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
        return Manifest(wal, catalog, path, segment_bytes, is_new=not known)

    async def append(self, edit: Edit) -> None:
        """Makes an edit durable, then applies it. Raises CatalogError (nothing happened), SyncFailed."""
        changed = Catalog(dict(self.catalog.tables), self.catalog.next_number, self.catalog.log_lsn)
        changed.apply(edit)
        failpoint(BEFORE_EDIT)
        await self._wal.append([edit.encode()])
        failpoint(AFTER_EDIT)
        self.catalog.apply(edit)
        if self._wal.bytes_total > self._rewrite_at_bytes:
            await self._rewrite()

    async def _rewrite(self) -> None:
        failpoint(BEFORE_REWRITE)
        record = self.catalog.whole_edit().encode()
        lsn = await self._wal.append([record])
        failpoint(BEFORE_DROP)
        await self._wal.drop_before(lsn)
        self._rewrite_at_bytes = 2 * (self._segment_bytes + len(record))

    async def close(self) -> None:
        """Closes the log. Raises SyncFailed when that, or anything before, failed."""
        await self._wal.close()

    @property
    def bytes_total(self) -> int:
        """What it takes on the disk."""
        return self._wal.bytes_total
