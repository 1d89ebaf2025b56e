"""Takes the past away now and then, so that who watches from too far back hears of it."""

import asyncio
import random

import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import CompactionRequest, RangeRequest
from orrery.checkers.history import Recorder
from orrery.sim.kv.access import Access

KEPT_MAX = 40
"""The most revisions that a compaction leaves."""


class Compactor:
    """One process, whose deeds are notes in a history."""

    def __init__(self, access: Access, recorder: Recorder, source: random.Random) -> None:
        self._access = access
        self._recorder = recorder
        self._source = source

    async def run(self, mean_s: float, stopping: asyncio.Event) -> None:
        """Compacts until it is to stop."""
        while not stopping.is_set():
            await asyncio.sleep(min(self._source.expovariate(1 / mean_s), 2 * mean_s))
            try:
                now = await self._access.kv.Range(RangeRequest(key=b"r"), timeout=self._access.timeout_s)
                revision = max(1, now.header.revision - self._source.randint(0, KEPT_MAX))
                self._recorder.nemesis("compact", revision)
                await self._access.kv.Compact(
                    CompactionRequest(revision=revision, physical=self._source.random() < 0.5),
                    timeout=self._access.timeout_s,
                )
            except grpc.aio.AioRpcError:
                # It was too old already, or nobody answered: the next one does it.
                continue
