"""Clients of lists: transactions that append to some and read others, each one Txn.

A list is a prefix. An element is a key of its own under it, and the order of a list is that of the revisions in which
its elements were put: so an append needs no look at the list before, and is not idempotent. One that is applied twice
stands elsewhere after that. Judged as `list-append`: strict serializability over all lists, which needs no search,
however many answers are lost.
"""

import asyncio
import itertools
import random

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import PutRequest, RangeRequest, RequestOp, TxnRequest
from orrery.checkers.history import Json
from orrery.sim.kv import etcd
from orrery.sim.kv.access import Access
from orrery.sim.kv.recording import Answer, Process

PREFIX = "l/"
"""Of all lists."""
LISTS = 3
"""In use at a time."""
LENGTH_MAX = 24
"""Appends asked for, after which a list is given up for a new one."""


class Lists:
    """The lists of a run, all its clients together. What they know of each other here costs no message."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._elements = itertools.count(1)
        self._asked: dict[str, int] = {}
        self._current = [self._new() for _ in range(LISTS)]

    @property
    def all(self) -> list[str]:
        """Also those that were given up."""
        return list(self._asked)

    def transaction(self, source: random.Random) -> list[Json]:
        """One to three steps on different lists: appends and reads."""
        for place, name in enumerate(self._current):
            if self._asked[name] >= LENGTH_MAX:
                self._current[place] = self._new()
        steps: list[Json] = []
        for name in source.sample(self._current, source.randint(1, LISTS)):
            if source.random() < 0.5:
                steps.append(["r", name, None])
            else:
                self._asked[name] += 1
                steps.append(["append", name, next(self._elements)])
        return steps

    def _new(self) -> str:
        name = f"{PREFIX}{next(self._numbers)}/"
        self._asked[name] = 0
        return name


class ListClient:
    """One process. It stops when `stopping` is set, after the call that is under way."""

    def __init__(self, process: Process, access: Access, lists: Lists, source: random.Random) -> None:
        self._process = process
        self._access = access
        self._lists = lists
        self._source = source

    async def run(self, pause_s: float, stopping: asyncio.Event) -> None:
        """Works until it is to stop."""
        while not stopping.is_set():
            await self.transact(self._lists.transaction(self._source))
            await asyncio.sleep(self._source.uniform(0, 2 * pause_s))

    async def transact(self, steps: list[Json]) -> Answer:
        """One transaction."""
        return await self._process.do("txn", None, steps, self._transact(steps))

    async def _transact(self, steps: list[Json]) -> Json:
        done = await self._access.kv.Txn(
            TxnRequest(success=[_request(step) for step in steps]), timeout=self._access.timeout_s
        )
        told: list[Json] = []
        for step, answer in zip(steps, done.responses, strict=True):
            assert isinstance(step, list)
            if step[0] == "r":
                elements: list[Json] = [int(found.value) for found in answer.response_range.kvs]
                told.append(["r", step[1], elements])
            else:
                told.append(step)
        return told


def _request(step: Json) -> RequestOp:
    assert isinstance(step, list)
    kind, name, element = step
    assert isinstance(name, str)
    if kind == "r":
        return RequestOp(
            request_range=RangeRequest(
                key=name.encode(),
                range_end=etcd.prefix_end(name),
                sort_order=RangeRequest.ASCEND,
                sort_target=RangeRequest.MOD,
            )
        )
    return RequestOp(request_put=PutRequest(key=f"{name}{element}".encode(), value=str(element).encode()))
