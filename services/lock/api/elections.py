"""orrery.lock.v1.Elections: who leads. Standing for election is a part of a session."""

import asyncio
from collections.abc import AsyncIterator

from grpc import StatusCode

from cluster.clients.kv import KvClient, KvError, prefix_end
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import RangeRequest
from cluster.pb.orrery.lock.v1.lock_pb2 import LeaderRequest, Leadership
from cluster.pb.orrery.lock.v1.lock_pb2_grpc import ElectionsServicer
from services.lock.api.locks import CallContext, answer
from services.lock.names import check_name, queue_prefix
from services.lock.queue import Entry
from services.lock.refusals import Refused, of_kv
from services.lock.view import Views


class ElectionsHead(ElectionsServicer):
    """Serves those who want to know who leads."""

    def __init__(self, kv: KvClient, views: Views, *, observers_max: int) -> None:
        self._kv = kv
        self._views = views
        self._observers_max = observers_max
        self._latest: dict[_Latest, None] = {}

    def stop(self) -> None:
        """Ends all observations: clients go on elsewhere."""
        for latest in self._latest:
            latest.stop()

    async def Leader(self, request: LeaderRequest, context: CallContext) -> Leadership:  # noqa: N802, D102
        return await answer(context, self._leader, request)

    async def Observe(  # noqa: N802, D102
        self, request: LeaderRequest, context: CallContext
    ) -> AsyncIterator[Leadership]:
        try:
            check_name(request.name)
            if len(self._latest) >= self._observers_max:
                raise Refused(StatusCode.RESOURCE_EXHAUSTED, f"{self._observers_max} observe elections already")
        except Refused as refused:
            await context.abort(refused.code, refused.message)
        latest = _Latest()
        view = self._views.get(request.name)
        self._latest[latest] = None
        view.observe(latest)
        try:
            while (leadership := await latest.take()) is not None:
                yield leadership
        finally:
            view.stop_observing(latest)
            del self._latest[latest]
        await context.abort(StatusCode.UNAVAILABLE, "this process is about to stop")

    async def _leader(self, request: LeaderRequest) -> Leadership:
        check_name(request.name)
        prefix = queue_prefix(request.name)
        try:
            found = await self._kv.range(
                RangeRequest(
                    key=prefix,
                    range_end=prefix_end(prefix),
                    limit=1,
                    sort_target=RangeRequest.CREATE,
                    sort_order=RangeRequest.ASCEND,
                )
            )
        except KvError as error:
            raise of_kv(error) from error
        if not found.kvs:
            raise Refused(StatusCode.NOT_FOUND, f"nobody leads {request.name!r}")
        pair = found.kvs[0]
        return Leadership(key=pair.key, token=pair.create_revision, value=pair.value, revision=pair.mod_revision)


class _Latest:
    """What an observer was not told yet: the newest only, since older leaders lead no more."""

    def __init__(self) -> None:
        self._news: Leadership | None = None
        self._changed = asyncio.Event()
        self._is_stopped = False

    def on_head(self, head: Entry | None, value: bytes) -> None:
        """The leader changed, or what it says."""
        self._news = (
            Leadership()
            if head is None
            else Leadership(key=head.key, token=head.create_revision, value=value, revision=head.mod_revision)
        )
        self._changed.set()

    def stop(self) -> None:
        """There will be no more."""
        self._is_stopped = True
        self._changed.set()

    async def take(self) -> Leadership | None:
        """The news; None when there will be none."""
        while self._news is None:
            if self._is_stopped:
                return None
            self._changed.clear()
            await self._changed.wait()
        news, self._news = self._news, None
        return news
