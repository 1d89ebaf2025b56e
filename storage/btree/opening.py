"""How a file comes to be, and how it is found again: the parts around the metas.

A new file is written under another name, synced, and renamed: there is a whole file under FILE_NAME or none.
"""

from runtime.disk import Disk, File
from storage.btree.meta import META_REGION_BYTES, Meta, MetaInvalid, Metas, choose
from storage.btree.nodes import Leaf, Seal
from storage.btree.page import PAGE_BYTES_CHOICES, PageInvalid, encode_leaf
from storage.btree.pages import PageFile
from storage.btree.space import SpaceMap, decode_bits, decode_index, state_of
from storage.engine import Corruption

FILE_NAME = "pages"
_NEW_NAME = "pages.new"
FIRST_COMMIT = 2
"""Of a new file, so that the slot of the commit before it holds a meta, too."""


async def is_there(disk: Disk, path: str) -> bool:
    """Whether directory `path` holds an engine's file."""
    return await disk.exists(f"{path}/{FILE_NAME}")


def reserved_pages(page_bytes: int) -> int:
    """The pages at the front that hold the metas."""
    return -(-META_REGION_BYTES // page_bytes)


async def create(disk: Disk, path: str, page_bytes: int, operator: str) -> None:
    """Makes an empty file in directory `path`. Durable on return."""
    if page_bytes not in PAGE_BYTES_CHOICES:
        raise ValueError(f"a page has one of {PAGE_BYTES_CHOICES} bytes, not {page_bytes}")
    file = await begin(disk, path)
    try:
        space = SpaceMap(page_bytes, reserved_pages(page_bytes))
        root = space.allocate()
        data, seal = encode_leaf(Leaf(0, [], [], 0, False), root, FIRST_COMMIT, page_bytes)
        pages = PageFile(file, f"{path}/{_NEW_NAME}", page_bytes, 0)
        await pages.write([(root, data)])
        await finish(pages, space, root, seal, 0, operator)
    finally:
        await file.close()
    await publish(disk, path)


async def begin(disk: Disk, path: str) -> File:
    """Opens a new file that has not got its name yet."""
    await disk.make_directory(path)
    if await disk.exists(f"{path}/{_NEW_NAME}"):
        # What an earlier life began and never published.
        await disk.remove(f"{path}/{_NEW_NAME}")
    return await disk.open(f"{path}/{_NEW_NAME}", create=True)


async def finish(pages: PageFile, space: SpaceMap, root: int, seal: int, height: int, operator: str) -> None:
    """Writes the map and both metas of a new file whose tree is written, and syncs."""
    map_pages, index, checksum = space.encode(FIRST_COMMIT)
    await pages.write(map_pages)
    metas = [
        Meta(
            page_bytes=pages.page_bytes, commit=commit, root=root, root_seal=seal, map_index=index,
            map_checksum=checksum, height=height, pages=len(space.state), entries=Seal.unpack(seal).count,
            operator=operator,
        )
        for commit in (FIRST_COMMIT, FIRST_COMMIT - 1)
    ]  # fmt: skip
    await pages.file.pwrite([meta.encode_slot() for meta in metas], 0, sync=True)


async def publish(disk: Disk, path: str) -> None:
    """Gives the file its name, durably, with the directories that lead to it."""
    await disk.rename(f"{path}/{_NEW_NAME}", f"{path}/{FILE_NAME}")
    while path:
        await disk.sync_directory(path)
        path = path.rpartition("/")[0]
    await disk.sync_directory(".")


async def read_metas(file: File, name: str) -> Metas:
    """The metas of an open file. Raises Corruption."""
    region = await file.pread(META_REGION_BYTES, 0)
    try:
        metas = choose(region)
    except MetaInvalid as error:
        raise Corruption(name, 0, str(error)) from error
    newest = metas.newest
    if await file.size() < newest.pages * newest.page_bytes:
        raise Corruption(name, await file.size(), f"the file is cut short: it should have {newest.pages} pages")
    return metas


def read_map(pages: PageFile, meta: Meta) -> tuple[list[tuple[int, int]], bytearray]:
    """The map of a commit: page and checksum of its pages, and the state of each page. Raises Corruption."""
    chunk_pages = SpaceMap(meta.page_bytes, 0).chunk_pages
    head, data = pages.read_page(meta.map_index, meta.map_checksum)
    try:
        chunks = decode_index(head, data, chunk_pages, meta.pages)
    except PageInvalid as error:
        raise pages.corruption(meta.map_index, str(error)) from error
    bits = []
    for chunk, (page, checksum) in enumerate(chunks):
        head, data = pages.read_page(page, checksum)
        try:
            bits.append(decode_bits(head, data, chunk, chunk_pages))
        except PageInvalid as error:
            raise pages.corruption(page, str(error)) from error
    return chunks, state_of(bits, chunk_pages, meta.pages)
