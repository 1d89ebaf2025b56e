"""A member with a fake disk: Readys are written when told, and a crash loses what was not."""

from collections import deque
from collections.abc import Callable

from cluster.raft.core.config import RaftConfig
from cluster.raft.core.memory_log import MemoryLog
from cluster.raft.core.raft import Raft
from cluster.raft.core.testing.checker import Checker
from cluster.raft.core.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Message,
    ReadState,
    Ready,
    Role,
    SnapshotMeta,
    Stage,
    Standing,
)


class Member:
    """Drives one core as a driver would, step by step.

    `durable` is the disk. The core reads `log`: the same object, or, with `eager_log`, one that takes entries when
    they are handed out instead of when they are synced; the contract of LogStorage allows both.
    """

    def __init__(
        self,
        config: RaftConfig,
        configuration: Configuration,
        draw: Callable[[int, int], int],
        checker: Checker,
        *,
        eager_log: bool = False,
        life: int = 0,
    ) -> None:
        """With a `life`, the member's log is new, and it has to find out whether it is the first one."""
        self.config = config
        self.founding = configuration
        self.checker = checker
        self.draw = draw
        self.eager_log = eager_log
        self.synced_hard_state = HardState()
        """What survives a crash for sure; `hard_state` was written lazily and may survive."""
        self.lost = False
        """Its disk was lost, and it has not settled since."""
        self.reads_asked: dict[bytes, int] = {}
        self.read_states: list[ReadState] = []
        self.applied_commands: list[bytes] = []
        """What the state machine was told since the last start, snapshots not counted."""
        self._found(life)

    def _found(self, life: int) -> None:
        self.durable = MemoryLog(SnapshotMeta(0, 0, self.founding))
        self.hard_state = self.synced_hard_state = HardState()
        self.standing = Standing(Stage.JOINING, life, complete=True) if life else Standing()
        self.start()

    def wipe(self, life: int) -> None:
        """Stops, loses its disk, and boots with an empty one."""
        self.lost = True
        self._found(life)

    def start(self) -> None:
        """Boots from the disk."""
        self.log = self.durable if not self.eager_log else _copy(self.durable)
        snapshot = self.durable.snapshot()
        self.configuration = snapshot.configuration
        self.applied_index = snapshot.index
        self.under_way: deque[Ready] = deque()
        self.unapplied: deque[Entry] = deque()
        self._led_term = 0
        self.applied_commands = []
        self.raft = Raft(
            self.config,
            self.log,
            self.hard_state,
            self.configuration,
            self.applied_index,
            self.draw,
            self.standing,
        )

    def crash(self, readys_kept: int = 0, *, keep_lazy: bool = True) -> None:
        """Stops and boots again; the first `readys_kept` unfinished writes happened to reach the disk."""
        for ready in list(self.under_way)[:readys_kept]:
            self._write(ready)
        if not keep_lazy:
            self.hard_state = self.synced_hard_state
        self.start()

    def take_ready(self) -> tuple[Ready, list[Message]] | None:
        """Takes a Ready and starts writing it. Returns it with what may be sent at once."""
        if not self.raft.has_ready():
            return None
        ready = self.raft.ready()
        self.under_way.append(ready)
        self.checker.on_commit(self.raft)
        if self.raft.role is Role.LEADER and self.raft.term != self._led_term:
            self._led_term = self.raft.term
            self.checker.on_leader(self.raft)
        if self.eager_log:
            _extend(self.log, ready)
        self.unapplied.extend(ready.committed)
        for state in ready.read_states:
            self.read_states.append(state)
            asked = self.reads_asked.pop(state.context, None)
            if asked is not None:
                self.checker.on_read(self.raft, state.index, asked)
        return ready, ready.messages

    def finish_write(self) -> list[Message]:
        """The oldest write under way is synced. Returns what may be sent now."""
        ready = self.under_way.popleft()
        self._write(ready)
        if ready.snapshot is not None:
            self._install(ready.snapshot)
        self.raft.persisted(ready)
        return ready.messages_after_persist

    def _write(self, ready: Ready) -> None:
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state
        if ready.must_sync:
            self.synced_hard_state = self.hard_state
        _extend(self.durable, ready)
        if ready.standing is not None:
            self.standing = ready.standing
            self.lost = self.lost and ready.standing.stage is not Stage.SETTLED

    def _install(self, snapshot: SnapshotMeta) -> None:
        self.checker.on_snapshot(self.raft, snapshot.index)
        self.unapplied.clear()
        self.applied_index = snapshot.index
        self.configuration = snapshot.configuration

    def apply(self) -> None:
        """The state machine applies everything that it was handed."""
        if self.raft.applied_index < self.applied_index:
            self.raft.applied(self.applied_index)
        while self.unapplied:
            entry = self.unapplied.popleft()
            self.checker.on_apply(self.raft, self.applied_index + 1, entry)
            self.applied_index = entry.index
            if entry.kind is EntryKind.CONFIGURATION:
                self.configuration = self.raft.apply_configuration(entry)
            elif entry.data:
                self.applied_commands.append(entry.data)
        if self.raft.applied_index < self.applied_index:
            self.raft.applied(self.applied_index)

    def compact(self, trailing: int = 0) -> None:
        """Takes a snapshot where the state machine is, and drops the log behind it but for `trailing` entries."""
        index = self.applied_index
        if index <= self.durable.snapshot().index or index > self.durable.last_index() or self.under_way:
            return
        meta = SnapshotMeta(index, self.durable.term(index), self.configuration)
        for log in (self.durable, self.log) if self.eager_log else (self.durable,):
            log.set_snapshot(meta)
            log.compact(max(index - trailing, log.first_index() - 1))

    def read(self, context: bytes) -> None:
        """Asks for a read and remembers what was committed by now. Raises ReadDropped."""
        committed = self.checker.commit_max
        self.raft.read_index(context)
        self.reads_asked[context] = committed


def _extend(log: MemoryLog, ready: Ready) -> None:
    if ready.snapshot is not None:
        log.apply_snapshot(ready.snapshot)
    log.append(ready.entries)


def _copy(log: MemoryLog) -> MemoryLog:
    copy = MemoryLog()
    first, last = log.first_index(), log.last_index()
    before = SnapshotMeta(first - 1, log.term(first - 1), log.snapshot().configuration)
    copy.apply_snapshot(before)
    if last >= first:
        copy.append(log.entries(first, last + 1, 1 << 40))
    if log.snapshot().index > before.index:
        copy.set_snapshot(log.snapshot())
    return copy
