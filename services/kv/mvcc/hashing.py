"""The hash over all records, by which members compare what they hold: etcd's HashKV.

CRC-32C over the word "key" and then each record's key and value, passing over what compaction has logically removed;
the same records give the same hash as in etcd (its storage/mvcc/hash.go).
"""

from collections.abc import Generator
from typing import NamedTuple

from google_crc32c import extend

from services.kv.mvcc.revision import is_tombstone, lower_bound, main_revision
from services.kv.mvcc.store import Store
from services.kv.refusals import COMPACTED, FUTURE_REVISION, Refused

RECORDS_PER_STEP = 1000
"""The caller gets a turn after this many."""


class RevisionHash(NamedTuple):
    """The hash, and of what."""

    value: int
    revision: int
    compact_revision: int


def hash_records(store: Store, revision: int) -> Generator[RevisionHash | None, None, None]:
    """Yields None between steps, and the hash at the end. At 0 it is that of the newest revision. Raises Refused."""
    if revision == 0:
        revision = store.revision
    if revision > store.revision:
        raise Refused(FUTURE_REVISION)
    if revision < store.compact_revision:
        raise Refused(COMPACTED)
    compact_revision = store.compact_revision
    store.pin()
    snapshot = store.engine.snapshot()
    try:
        checksum = extend(0, b"key")
        for count, (key, record) in enumerate(snapshot.scan(None, lower_bound(revision + 1)), 1):
            if count % RECORDS_PER_STEP == 0:
                yield None
            # etcd's members differ in whether they still have the deletion at the compacted revision itself.
            if is_tombstone(key) and main_revision(key) == compact_revision:
                continue
            if store.is_kept(key, record, compact_revision):
                checksum = extend(checksum, key)
                checksum = extend(checksum, record)
        yield RevisionHash(checksum, revision, compact_revision)
    finally:
        snapshot.close()
        store.unpin()
