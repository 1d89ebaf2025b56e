"""The metas: where a file says which tree holds.

Two slots are written in turn, each in two copies that share no sector, in the first META_REGION_BYTES of the file. A
crash during a write leaves, sector by sector, the old or the new: so of a slot at least one copy is whole, and both
being damaged is rot and not a crash. Then the newest commit may be what is damaged, and an engine that went on with the
older slot would silently forget what it had promised: it refuses.

    meta (512): magic 8, version u32, page bytes u32, commit u64, root u64, seal of the root u64,
                index of the map u64, checksum of that u32, height u32, pages u64, entries u64,
                operator's name (length u8, 63 bytes), zeros, CRC32C u32 of all before
"""

import struct
from dataclasses import dataclass

import google_crc32c

from storage.btree.page import LEVEL_MAX, PAGE_BYTES_CHOICES

MAGIC = b"ORRERYBT"
VERSION = 1
META_BYTES = 512
COPY_OFFSETS = (0, 2048)
"""Of the two copies in a slot."""
SLOT_BYTES = 4096
META_REGION_BYTES = 2 * SLOT_BYTES
OPERATOR_NAME_BYTES_MAX = 63

_META = struct.Struct("<8sIIQQQQIIQQB63s")
_CHECKSUM = struct.Struct("<I")


class MetaInvalid(ValueError):
    """The bytes are no meta. Its text is the reason."""


@dataclass(frozen=True, slots=True)
class Meta:
    """One commit."""

    page_bytes: int
    commit: int
    """Counts commits, from 1."""
    root: int
    root_seal: int
    map_index: int
    map_checksum: int
    height: int
    """Levels above the leaves."""
    pages: int
    """How many pages the file has, these slots included."""
    entries: int
    operator: str
    """The merge operator's name; empty when there is none."""

    def encode(self) -> bytes:
        """META_BYTES bytes."""
        name = self.operator.encode()
        head = _META.pack(
            MAGIC, VERSION, self.page_bytes, self.commit, self.root, self.root_seal, self.map_index,
            self.map_checksum, self.height, self.pages, self.entries, len(name), name,
        )  # fmt: skip
        head += bytes(META_BYTES - _CHECKSUM.size - len(head))
        checksum: int = google_crc32c.value(head)
        return head + _CHECKSUM.pack(checksum)

    def encode_slot(self) -> bytes:
        """Both copies: SLOT_BYTES bytes."""
        gap = bytes(COPY_OFFSETS[1] - META_BYTES)
        return self.encode() + gap + self.encode() + gap

    @staticmethod
    def decode(data: bytes) -> "Meta":
        """Raises MetaInvalid."""
        if len(data) != META_BYTES:
            raise MetaInvalid("it is cut short")
        if google_crc32c.value(data[: -_CHECKSUM.size]) != _CHECKSUM.unpack(data[-_CHECKSUM.size :])[0]:
            raise MetaInvalid("its checksum is wrong")
        magic, version, page_bytes, commit, root, seal, index, checksum, height, pages, entries, length, name = (
            _META.unpack_from(data)
        )
        if magic != MAGIC:
            raise MetaInvalid("it is not of a B+tree")
        if version != VERSION:
            raise MetaInvalid(f"format version {version} is not known; this is version {VERSION}")
        if page_bytes not in PAGE_BYTES_CHOICES or height > LEVEL_MAX or length > OPERATOR_NAME_BYTES_MAX:
            raise MetaInvalid("it makes no sense")
        try:
            operator = name[:length].decode()
        except UnicodeDecodeError as error:
            raise MetaInvalid("the operator's name is no text") from error
        return Meta(page_bytes, commit, root, seal, index, checksum, height, pages, entries, operator)


@dataclass(frozen=True, slots=True)
class Metas:
    """What the two slots say."""

    newest: Meta
    previous: Meta | None
    """Of the other slot, when it holds one."""
    faults: tuple[tuple[int, str], ...]
    """(offset, reason) of the copies that are damaged while their twins are whole."""


def slot_offset(commit: int) -> int:
    """Where a commit's meta stands."""
    return commit % 2 * SLOT_BYTES


def choose(region: bytes) -> Metas:
    """Reads both slots of the first META_REGION_BYTES. Raises MetaInvalid."""
    found: list[Meta] = []
    faults: list[tuple[int, str]] = []
    for slot in (0, SLOT_BYTES):
        whole: list[Meta] = []
        damaged: list[tuple[int, str]] = []
        for copy in COPY_OFFSETS:
            try:
                whole.append(Meta.decode(region[slot + copy : slot + copy + META_BYTES]))
            except MetaInvalid as error:
                damaged.append((slot + copy, str(error)))
        if not whole:
            raise MetaInvalid(f"both copies of the meta at offset {slot} are damaged: {damaged[0][1]}")
        faults += damaged
        found.append(max(whole, key=_commit))
    newest, previous = sorted(found, key=_commit, reverse=True)
    return Metas(newest, previous if previous.commit + 1 == newest.commit else None, tuple(faults))


def _commit(meta: Meta) -> int:
    return meta.commit
