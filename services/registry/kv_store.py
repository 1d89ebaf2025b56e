"""The registry's store: plans as transactions of kv, TTL checks as leases."""

import asyncio
import logging
from collections import deque

import grpc

from cluster.clients.kv import KvClient, KvError, KvRefused
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import RangeRequest
from services.registry.batching import Batches
from services.registry.interface import Unavailable
from services.registry.mirror import Mirror
from services.registry.planning import Plan
from services.registry.records import PREFIX
from services.registry.store import LeaseGone, Outcome

FORGOTTEN_MAX = 65_536
"""Leases that wait to be ended. What is beyond ends by itself when its time is over."""
ENDERS = 8
"""Leases that are ended at once."""

_log = logging.getLogger(__name__)


class KvStore:
    """A `Store` over kv. `run` must run."""

    def __init__(self, kv: KvClient, mirror: Mirror, *, within_s: float) -> None:
        """`within_s`: how long the copy may take until it has what was written."""
        self._kv = kv
        self.batches = Batches(kv)
        self._mirror = mirror
        self._within_s = within_s
        self._forgotten: deque[int] = deque()
        self._has_forgotten = asyncio.Event()

    async def commit(self, plan: Plan) -> Outcome:
        """Does a plan; see `Store.commit`."""
        try:
            answer = await self.batches.commit(plan)
        except KvRefused as error:
            if error.code is grpc.StatusCode.NOT_FOUND and any(write.lease for write in plan.writes.values()):
                raise LeaseGone from error
            raise _unavailable(error) from error
        except KvError as error:
            raise _unavailable(error) from error
        if answer.succeeded and not plan.writes:
            # The copy was right.
            return Outcome(True, answer.revision, answer.is_repeated)
        await self._reach(answer.revision, definite=not answer.succeeded and not answer.is_repeated)
        return Outcome(answer.succeeded, answer.revision, answer.is_repeated)

    async def catch_up(self) -> None:
        """Returns when the copy has all that was written anywhere before. Raises Unavailable."""
        try:
            response = await self._kv.range(RangeRequest(key=PREFIX, keys_only=True))
        except KvError as error:
            raise _unavailable(error) from error
        await self._reach(response.header.revision, definite=True)

    async def grant(self, ttl_s: int) -> int:
        """Makes a lease. Raises Unavailable."""
        try:
            return (await self._kv.grant(ttl_s)).ID
        except KvError as error:
            # Nothing hangs on a lease that nobody knows: it ends by itself.
            raise Unavailable(f"kv: {error.message}", definite=True) from error

    async def renew(self, lease: int) -> bool:
        """Renews a lease; False when it is over. Raises Unavailable."""
        try:
            return await self._kv.renew_soon(lease) > 0
        except KvError as error:
            raise _unavailable(error) from error

    def forget(self, lease: int) -> None:
        """Ends a lease some time or other."""
        if len(self._forgotten) < FORGOTTEN_MAX:
            self._forgotten.append(lease)
            self._has_forgotten.set()

    async def run(self) -> None:
        """Ends the leases that are to be forgotten, for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(ENDERS):
                group.create_task(self._end_forgotten())

    async def _end_forgotten(self) -> None:
        while True:
            while not self._forgotten:
                self._has_forgotten.clear()
                await self._has_forgotten.wait()
            lease = self._forgotten.popleft()
            try:
                await self._kv.revoke(lease)
            except KvError as error:
                _log.debug("a lease ends by itself", extra={"lease": f"{lease:x}", "reason": error.message})

    async def _reach(self, revision: int, *, definite: bool) -> None:
        if not await self._mirror.reach(revision, self._within_s):
            raise Unavailable("this process hears nothing of kv's changes", definite=definite)


def _unavailable(error: KvError) -> Unavailable:
    return Unavailable(f"kv: {error.message}", definite=error.definite)
