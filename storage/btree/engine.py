"""The engine: a copy-on-write B+tree in one file. README.md says what it promises, and shows the way of a write."""

import asyncio
import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runtime.disk import Disk, File
from storage.btree import reading
from storage.btree.batches import BatchTree
from storage.btree.commit import Sealed, commit
from storage.btree.copying import copy_tree
from storage.btree.meta import META_REGION_BYTES, OPERATOR_NAME_BYTES_MAX, Meta
from storage.btree.nodes import Leaf, Node
from storage.btree.opening import FILE_NAME, create, is_there, read_map, read_metas
from storage.btree.pages import PageFile
from storage.btree.space import SpaceMap
from storage.engine import DeleteRange, Merge, MergeOperator, NoMergeOperator, WriteBatch
from storage.measures import Measure

PAGE_BYTES = 4096
"""Of a new file. Measured: half of what 8192 cost for a put at a random place, and not much more for anything else."""
CACHE_BYTES_MAX = 64 << 20
CHANGED_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class BTreeStatistics:
    """Counted since the opening, but for what says that it is of the file."""

    commits: int
    """Since the file was made."""
    entries: int
    """In the last commit."""
    height: int
    """Levels above the leaves, in the last commit."""
    page_bytes: int
    pages: int
    """Of the file."""
    free_pages: int
    """Of the file, that can be taken."""
    waiting_pages: int
    """Of the file, that a snapshot or a meta still refers to."""
    changed_bytes: int
    """Memory that the next commit has to write, about."""
    pages_read: int
    bytes_read: int
    bytes_written: int
    writes: int
    damaged_metas: tuple[tuple[int, str], ...]
    """(offset, reason) of copies of metas that were damaged at the opening, while their twins were whole."""


class BTreeSnapshot:
    """The content as of one moment."""

    __slots__ = ("_engine", "_root", "_through")

    def __init__(self, engine: "BTreeEngine", root: Node, through: int) -> None:
        self._engine = engine
        self._root: Node | None = root
        self._through = through

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None. Raises Corruption."""
        assert self._root is not None, "the snapshot is closed"
        return reading.get(self._engine.pages, self._root, key)

    def scan(
        self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs with low <= key < high, in the order asked for. Raises Corruption."""
        assert self._root is not None, "the snapshot is closed"
        return (reading.descend if reverse else reading.ascend)(self._engine.pages, self._root, low, high)

    @property
    def root(self) -> Node:
        """Of the tree that it holds."""
        assert self._root is not None, "the snapshot is closed"
        return self._root

    def close(self) -> None:
        """Lets the old pages be taken again."""
        if self._root is not None:
            self._root = None
            self._engine.unpin(self._through)


class BTreeEngine:
    """A `DurableEngine`. One for a directory at a time: whoever owns the directory sees to that."""

    def __init__(
        self, disk: Disk, file: File, path: str, meta: Meta, cache_bytes_max: int, operator: MergeOperator | None
    ) -> None:
        """Use `open`."""
        self._disk = disk
        self._file = file
        self._path = path
        self._operator = operator
        self.meta = meta
        """The last commit."""
        self.pages = PageFile(file, f"{path}/{FILE_NAME}", meta.page_bytes, cache_bytes_max)
        self.space = SpaceMap(meta.page_bytes, -(-META_REGION_BYTES // meta.page_bytes))
        self.tree = BatchTree(self.pages, Leaf(0, [], [], 0, False))
        self.put = self.tree.put
        self.delete = self.tree.delete
        self._changed_bytes_max = CHANGED_BYTES_MAX
        self._damaged_metas: tuple[tuple[int, str], ...] = ()
        self._pins: dict[int, int] = {}
        self._sealed = meta.commit
        self._begun = 0
        self._ended = 0
        self._committing: asyncio.Task[None] | None = None
        self._committing_bytes = 0

    @staticmethod
    async def open(
        disk: Disk,
        path: str,
        *,
        operator: MergeOperator | None = None,
        page_bytes: int = PAGE_BYTES,
        cache_bytes_max: int = CACHE_BYTES_MAX,
        changed_bytes_max: int = CHANGED_BYTES_MAX,
    ) -> "BTreeEngine":
        """Opens the engine in directory `path`, which is made when it is missing.

        `page_bytes` is for a new file; one that is there keeps its own. Memory is `cache_bytes_max` for what is
        read and `changed_bytes_max` for what is written, about, as long as writers wait for `throttle`.

        Raises Corruption, and ValueError for another merge operator than the file was written with.
        """
        name = operator.name if operator is not None else ""
        if len(name.encode()) > OPERATOR_NAME_BYTES_MAX:
            raise ValueError(f"the merge operator's name is longer than {OPERATOR_NAME_BYTES_MAX} bytes")
        if not await is_there(disk, path):
            await create(disk, path, page_bytes, name)
        file = await disk.open(f"{path}/{FILE_NAME}")
        try:
            metas = await read_metas(file, f"{path}/{FILE_NAME}")
            meta = metas.newest
            if meta.operator != name:
                raise ValueError(f"{path} was written with merge operator {meta.operator!r}, not with {name!r}")
            engine = BTreeEngine(disk, file, path, meta, cache_bytes_max, operator)
            engine._changed_bytes_max = changed_bytes_max
            engine._damaged_metas = metas.faults
            engine._load(metas.previous)
        except BaseException:
            await file.close()
            raise
        return engine

    def _load(self, previous: Meta | None) -> None:
        meta = self.meta
        chunks, state = read_map(self.pages, meta)
        self.space.load(meta.map_index, chunks, state)
        if previous is not None:
            _chunks, state = read_map(self.pages, previous)
            self.space.keep(state, meta.commit)
        self.tree.root = self.pages.read_node(meta.root, meta.root_seal)

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None. Raises Corruption."""
        return reading.get(self.pages, self.tree.root, key)

    def scan(
        self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs with low <= key < high, in the order asked for, good until the next write. Raises Corruption."""
        return (reading.descend if reverse else reading.ascend)(self.pages, self.tree.root, low, high)

    def delete_range(self, low: bytes, high: bytes) -> None:
        """Removes every key with low <= key < high; subtrees that lie within go whole."""
        self._atomically(lambda: self.tree.delete_range(low, high))

    def merge(self, key: bytes, operand: bytes) -> None:
        """Changes the value of `key` by the merge operator: a read and a write. Raises NoMergeOperator."""
        operator = self._need_operator()
        before = self.get(key)
        self.tree.put(key, operator.combine([operand] if before is None else [before, operand]))

    def write(self, batch: WriteBatch) -> None:
        """Applies all of a batch, or none of it. Raises NoMergeOperator, ValueError, Corruption."""
        if batch.plain:
            self.tree.write(dict(batch.operations))  # type: ignore[arg-type]  # there is nothing but bytes and None
            return
        if any(type(operation) is Merge for _key, operation in batch.operations):
            self._need_operator()
        self._atomically(lambda: self._apply(batch))

    def _apply(self, batch: WriteBatch) -> None:
        put, delete = self.tree.put, self.tree.delete
        for key, operation in batch.operations:
            if operation is None:
                delete(key)
            elif type(operation) is bytes:
                put(key, operation)
            elif type(operation) is DeleteRange:
                self.tree.delete_range(key, operation.high)
            elif type(operation) is Merge:
                self.merge(key, operation.operand)

    def _atomically(self, change: Callable[[], None]) -> None:
        checkpoint = self.tree.checkpoint()
        try:
            change()
        except BaseException:
            self.tree.go_back(checkpoint)
            raise

    def _need_operator(self) -> MergeOperator:
        if self._operator is None:
            raise NoMergeOperator("the engine was opened without a merge operator")
        return self._operator

    def snapshot(self) -> BTreeSnapshot:
        """The content as of now, in O(1)."""
        self._pins[self._sealed] = self._pins.get(self._sealed, 0) + 1
        return BTreeSnapshot(self, self.tree.freeze(), self._sealed)

    def unpin(self, through: int) -> None:
        """A snapshot was closed that may refer to what commits after `through` freed."""
        self._pins[through] -= 1
        if not self._pins[through]:
            del self._pins[through]

    @property
    def size_bytes(self) -> int:
        """The pages in use, and what is in memory yet."""
        space = self.space
        used = len(space.state) - space.free_pages - space.waiting_pages
        return used * self.pages.page_bytes + self.tree.changed_bytes

    async def throttle(self) -> None:
        """Begins a commit when half of the memory for changes is in use, and waits while all of it is."""
        self._check()
        tree = self.tree
        if tree.changed_bytes * 2 >= self._changed_bytes_max and self._committing is None:
            self._begin()
        if self._committing is not None:
            # The commit has its turn, however busy the writer is.
            await asyncio.sleep(0)
        while self._committing is not None and tree.changed_bytes + self._committing_bytes > self._changed_bytes_max:
            await self._turn()
            self._check()

    async def flush(self) -> None:
        """Commits, together with whoever else waits for it. Raises OSError."""
        self._check()
        if self._committing is None and self.tree.root.page == self.meta.root:
            return
        # The commit that is under way does not cover what was written since it began.
        wanted = self._begun + 1
        while self._ended < wanted:
            if self._committing is None:
                self._begin()
            await self._turn()
            self._check()

    def _check(self) -> None:
        if self.tree.failure is not None:
            raise self.tree.failure

    def _begin(self) -> None:
        self._committing = asyncio.get_running_loop().create_task(self._commit(), name=f"btree-commit {self._path}")
        self._committing.add_done_callback(self._commit_done)

    def _commit_done(self, task: "asyncio.Task[None]") -> None:
        if self._committing is task:
            # Cancelled before its first step, as when a loop shuts down: nobody else would tell those who wait.
            self._committing = None
            self.tree.failure = OSError(errno.EIO, "a commit was broken off before it began")

    async def _turn(self) -> None:
        """Waits for the commit under way. Who is cancelled while waiting does not take the commit along."""
        if self._committing is not None:
            await asyncio.wait([self._committing])

    async def _commit(self) -> None:
        tree = self.tree
        self._begun += 1
        self._committing_bytes = tree.changed_bytes
        try:
            number = self.meta.commit + 1
            # Neither meta on the disk, of the last commit and the one before, refers to what that one freed.
            reusable_through = min([number - 2, *self._pins])
            root, replaced = tree.begin_commit()
            self._sealed = number
            self.meta = await commit(self.pages, self.space, self.meta, Sealed(root, replaced, reusable_through))
            self._ended = self._begun
        except OSError as error:
            tree.failure = error
        except BaseException as error:
            tree.failure = OSError(errno.EIO, f"a commit was broken off: {error!r}")
            raise
        finally:
            self._committing_bytes = 0
            self._committing = None

    async def checkpoint(self, path: str) -> None:
        """Copies the content as of now into a directory that does not exist yet, page by page, each one checked.

        The copy has no free pages. Other writes and commits go on meanwhile. Raises Corruption, FileExistsError.
        """
        snapshot = self.snapshot()
        try:
            if await self._disk.exists(path):
                raise FileExistsError(errno.EEXIST, "the directory of a checkpoint must not exist", path)
            await copy_tree(self.pages, snapshot.root, self._disk, path, self.meta.operator)
        finally:
            snapshot.close()

    async def close(self) -> None:
        """Waits for the commit under way, if there is one, and releases the file."""
        while self._committing is not None:
            await self._turn()
        if self.tree.failure is None:
            self.tree.failure = OSError(errno.EBADF, "the engine is closed", self._path)
        await self._file.close()

    def measures(self) -> Iterator[Measure]:
        """`statistics`, for metrics."""
        told = self.statistics()
        for name, text, value in (
            ("pages", "Pages of the file.", told.pages),
            ("free_pages", "Pages of the file that can be taken.", told.free_pages),
            ("waiting_pages", "Pages of the file that a snapshot or a meta still refers to.", told.waiting_pages),
            ("page_bytes", "Bytes of a page.", told.page_bytes),
            ("height", "Levels above the leaves.", told.height),
            ("changed_bytes", "Bytes that the next commit has to write.", told.changed_bytes),
        ):
            yield Measure(f"btree_{name}", text, value)
        for name, text, count in (
            ("commits", "Commits since the file was made.", told.commits),
            ("pages_read", "Pages that were not in the cache.", told.pages_read),
            ("read_bytes", "Bytes read.", told.bytes_read),
            ("written_bytes", "Bytes written.", told.bytes_written),
        ):
            yield Measure(f"btree_{name}", text, count, is_counter=True)

    def statistics(self) -> BTreeStatistics:
        """How it stands."""
        counted = self.pages.statistics
        return BTreeStatistics(
            commits=self.meta.commit,
            entries=self.meta.entries,
            height=self.meta.height,
            page_bytes=self.meta.page_bytes,
            pages=len(self.space.state),
            free_pages=self.space.free_pages,
            waiting_pages=self.space.waiting_pages,
            changed_bytes=self.tree.changed_bytes,
            pages_read=counted.pages_read,
            bytes_read=counted.bytes_read,
            bytes_written=counted.bytes_written,
            writes=counted.writes,
            damaged_metas=self._damaged_metas,
        )
