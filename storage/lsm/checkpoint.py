"""A copy of the engine by second names for its tables: no data is written again."""

from runtime.clock import Clock
from runtime.disk import Disk
from runtime.failpoints import failpoint, register
from runtime.randomness import Randomness
from storage.lsm.catalog import Catalog
from storage.lsm.manifest import Manifest
from storage.lsm.version import Version

BEFORE_LINK = register("lsm.checkpoint.before_link")
BEFORE_MANIFEST = register("lsm.checkpoint.before_manifest")


async def write_checkpoint(
    disk: Disk,
    source: str,
    target: str,
    version: Version,
    catalog: Catalog,
    *,
    clock: Clock,
    random: Randomness,
    segment_bytes: int,
) -> None:
    """Makes an engine in `target` that holds what `version` does; the caller holds that version.

    The manifest comes last: without it, tables are no engine, and opening such a directory is refused.
    Raises FileExistsError when `target` is there already.
    """
    if await disk.exists(target):
        raise FileExistsError(f"{target} exists")
    await disk.make_directory(target)
    for table in version.tables.values():
        failpoint(BEFORE_LINK)
        await disk.link(f"{source}/{table.meta.name}", f"{target}/{table.meta.name}")
    await disk.sync_directory(target)
    failpoint(BEFORE_MANIFEST)
    manifest = await Manifest.open(disk, target, clock=clock, random=random, segment_bytes=segment_bytes)
    try:
        # The copy has no log, so it owes nothing to the records of this engine's.
        copied = Catalog(
            {meta.number: meta for meta in version.metas}, catalog.next_number, log_lsn=0, operator=catalog.operator
        )
        await manifest.append(copied.whole_edit())
    finally:
        await manifest.close()
