"""Who wants to hear of the members, and what they have not read yet."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

from cluster.membership.core import Address, EventKind, Member, Status
from cluster.membership.metadata import Metadata, decode


@dataclass(frozen=True, slots=True)
class MemberView:
    """One member, as this one believes it to be."""

    name: str
    status: Status
    address: Address
    metadata: Metadata
    incarnation: int
    instance: int
    """Tells lives of the process apart: another one under the same name has restarted."""

    @staticmethod
    def of(member: Member) -> "MemberView":
        """The view of what the core holds."""
        details = member.details
        return MemberView(
            member.name, member.status, details.address, decode(details.metadata), member.incarnation, details.instance
        )


class ChangeKind(Enum):
    """What happened."""

    JOINED = "joined"
    UPDATED = "updated"
    SUSPECT = "suspect"
    REFUTED = "refuted"
    FAILED = "failed"
    LEFT = "left"
    RESET = "reset"
    """The watcher was too slow, and changes were dropped: `Membership.members` tells what is now."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened; of RESET there is no member."""

    kind: ChangeKind
    member: MemberView | None


KINDS = {kind: ChangeKind(kind.value) for kind in EventKind if kind is not EventKind.NAME_TAKEN}


class Watch:
    """Changes in their order: `async with membership.watch() as changes: async for change in changes`.

    It begins with JOINED for each member that is there already, this one included. It ends when the membership does.
    One reader at a time.
    """

    def __init__(self, changes_max: int, forget: Callable[["Watch"], None]) -> None:
        self._max = changes_max
        self._forget = forget
        self._changes: deque[Change] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def put(self, change: Change) -> None:
        """Something happened. Too many unread ones are replaced by RESET."""
        if self._closed:
            return
        if len(self._changes) >= self._max:
            self._changes.clear()
            self._changes.append(Change(ChangeKind.RESET, None))
        self._changes.append(change)
        self._wake()

    def close(self) -> None:
        """Nothing more comes; what is unread can still be read."""
        if not self._closed:
            self._closed = True
            self._forget(self)
            self._wake()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while not self._changes:
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._changes.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
