"""A lock in hand."""

import asyncio
from collections.abc import Callable

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import Compare


class Grant:
    """What was granted. It may be lost at any moment: what must not be done twice is fenced by `guard` or `token`."""

    def __init__(
        self, name: str, token: int, oldest_token: int, key: bytes, hold_id: int, is_live: Callable[[], bool]
    ) -> None:
        self.name = name
        self.token = token
        """The fencing token: strictly increases from grant to grant of this lock."""
        self.oldest_token = oldest_token
        """No token below this one is good any more; `token` itself for an exclusive lock."""
        self.key = key
        """The key in kv whose create revision the token is."""
        self.hold_id = hold_id
        self.reason = ""
        """Why it was lost; empty as long as it was not."""
        self._is_live = is_live
        self._lost = asyncio.Event()
        self._on_lost: list[Callable[[], None]] = []

    @property
    def is_held(self) -> bool:
        """Whether it is still good, as far as this side can know: not told otherwise, and renewed in time."""
        return not self._lost.is_set() and self._is_live()

    def guard(self) -> Compare:
        """A comparison for a transaction of kv, or of etcd, that holds only as long as the grant does."""
        return Compare(key=self.key, target=Compare.CREATE, result=Compare.EQUAL, create_revision=self.token)

    async def wait_lost(self) -> str:
        """Returns, when the grant is lost, why."""
        await self._lost.wait()
        return self.reason

    def on_lost(self, call: Callable[[], None]) -> None:
        """Calls `call` when the grant is lost; at once if it is already."""
        if self._lost.is_set():
            call()
        else:
            self._on_lost.append(call)

    def forget(self) -> None:
        """Nobody is called any more."""
        self._on_lost.clear()

    def lose(self, reason: str) -> None:
        """The grant is lost. For the client's own use."""
        if self._lost.is_set():
            return
        self.reason = reason
        self._lost.set()
        calls, self._on_lost = self._on_lost, []
        for call in calls:
            call()
