"""The way of all groups into the shared log: one append for each turn, completions in the order of the appends.

LSNs are known before anything is written, because the log numbers records in the order in which it gets them; so
each group's spans (what of the log it needs) can be kept while its records still wait. Nothing may be dropped on the
strength of a record that is not durable yet: see `drop_front`.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cluster.raft.core.types import Entry, Ready, Standing
from cluster.raft.driver.group import Group
from cluster.raft.driver.records import Mark, encode_entries, encode_hard_state, encode_mark, encode_standing
from cluster.raft.driver.recovery import LogSpans
from storage.wal import Wal


class Written(NamedTuple):
    """What to do when the log holds one group's part of an append."""

    group: Group
    ready: Ready | None
    then: Callable[[], None] | None


class LogQueue:
    """Gathers the records of a turn, and what waits for them."""

    def __init__(self, wal: Wal, wake: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        """`wake` is called when there is something to append or to finish; `failed` when the log has failed."""
        self.appends = 0
        self._wal = wal
        self._wake = wake
        self._failed = failed
        self._records: list[bytes] = []
        self._owners: list[Written] = []
        self._finished: list[Written] = []
        self._under_way = 0
        """Appends that are not finished."""

    # Gathering

    def add_ready(self, group: Group, ready: Ready) -> None:
        """Queues what a Ready must make durable; it is among `finished` once that, and all before, is."""
        if ready.snapshot is not None:
            meta = ready.snapshot
            group.snapshot = meta
            self.add_mark(group, meta.index, meta.term, reset=True)
        if ready.entries:
            self._add_entries(group, ready.entries)
        if group.hard_state_unsaved and ready.must_sync:
            self._records.append(encode_hard_state(group.group_id, group.hard_state))
            group.hard_state_unsaved = False
        if ready.standing is not None:
            # Behind the entries and the term: who is settled by them must not be so without them.
            self._records.append(encode_standing(group.group_id, ready.standing))
        group.writes_in_flight += 1
        self._owners.append(Written(group, ready, None))

    def add_mark(
        self, group: Group, base_index: int, base_term: int, *, reset: bool, then: Callable[[], None] | None = None
    ) -> None:
        """Queues a MARK of the group's present snapshot; `then` is called once it is durable."""
        mark = Mark(group.group_id, group.hard_state, base_index, base_term, group.snapshot, reset)
        self._add_mark(mark, group.standing, group.spans)
        group.hard_state_unsaved = False
        if then is not None:
            group.writes_in_flight += 1
            self._owners.append(Written(group, None, then))
        self._wake()

    def rewrite(self, group: Group) -> None:
        """Queues all that the log needs of an idle group anew, so that the log's front can go."""
        log = group.log
        first = log.first_index()
        self.add_mark(group, first - 1, log.term(first - 1), reset=False)
        if log.last_index() >= first:
            self._add_entries(group, log.entries(first, log.last_index() + 1, 1 << 62))

    async def found(self, mark: Mark, standing: Standing, spans: LogSpans) -> None:
        """Makes a new group's first MARK, and its life, durable. Raises SyncFailed."""
        self._add_mark(mark, standing, spans)
        await self.barrier()

    def _add_mark(self, mark: Mark, standing: Standing, spans: LogSpans) -> None:
        spans.mark_written(mark.base_index, self._next_lsn, reset=mark.reset)
        self._records += (encode_mark(mark), encode_standing(mark.group, standing))

    def _add_entries(self, group: Group, entries: list[Entry]) -> None:
        lsn = self._next_lsn
        for first, last, record in encode_entries(group.group_id, entries):
            self._records.append(record)
            group.spans.entries_written(first, last, lsn)
            lsn += 1

    @property
    def _next_lsn(self) -> int:
        return self._wal.next_lsn + len(self._records)

    # Writing

    @property
    def has_gathered(self) -> bool:
        """Whether something is to be handed to the log."""
        return bool(self._owners or self._records)

    def append(self, *, on_the_spot: bool) -> bool:
        """Hands everything gathered to the log, without waiting for another thread.

        True: the log wrote it on the spot, as it was allowed to, and what waited for it is among `finished`. Raises
        SyncFailed.
        """
        if not self._owners and not self._records:
            return False
        # The log may be idle although its latest append is not among `finished` yet: its future calls back a step
        # later. (Caught by test_appends_finish_in_their_order_whichever_way_they_are_written.)
        if on_the_spot and not self._under_way and self._wal.append_now(self._records):
            self.appends += 1
            self._finished += self._owners
            self._owners, self._records = [], []
            return True
        self._append_later()
        return False

    async def barrier(self) -> None:
        """Returns once everything gathered so far is durable. Raises SyncFailed."""
        self._append_later()
        await self._wal.append([])

    def _append_later(self) -> None:
        owners, self._owners = self._owners, []
        records, self._records = self._records, []
        if not owners and not records:
            return
        self.appends += 1
        self._under_way += 1
        self._wal.append(records).add_done_callback(lambda done: self._append_done(done, owners))

    async def drop_front(self, needed: Iterable[LogSpans]) -> None:
        """Removes the log's segments that nobody in `needed` needs. Raises SyncFailed, OSError.

        The spans may rest on records that are still on their way, so those are waited for first. (Removal is caught
        by test_power_loss_while_an_idle_group_is_moved_to_the_logs_end.)
        """
        floor = min((spans.floor for spans in needed), default=0)
        await self.barrier()
        await self._wal.drop_before(floor)

    async def save_hard_states(self, groups: Iterable[Group]) -> None:
        """Writes the commit indexes that were kept back, for a planned stop. Raises SyncFailed."""
        for group in groups:
            if group.hard_state_unsaved:
                self._records.append(encode_hard_state(group.group_id, group.hard_state))
                group.hard_state_unsaved = False
        await self.barrier()

    def take_finished(self) -> list[Written]:
        """What became durable since the last call, in order."""
        finished, self._finished = self._finished, []
        for written in finished:
            written.group.writes_in_flight -= 1
        return finished

    def _append_done(self, done: "asyncio.Future[int]", owners: list[Written]) -> None:
        self._under_way -= 1
        if done.cancelled():
            return
        error = done.exception()
        if error is not None:
            self._failed(error)
            return
        self._finished += owners
        self._wake()
