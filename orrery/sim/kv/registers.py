"""Clients of registers: puts, reads, deletions, comparisons, transactions over a few keys, prefixes.

Every write carries a value of its own, so that whoever reads it knows which call wrote it. A put is not idempotent: a
second application would make a second revision, and the judges see revisions. So puts that a member proposes again,
because a leader was lost with them, show whether they are applied once.
"""

import asyncio
import itertools
import random
from dataclasses import dataclass

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest
from orrery.checkers.history import Json
from orrery.sim.kv import etcd
from orrery.sim.kv.access import Access
from orrery.sim.kv.mix import Mix
from orrery.sim.kv.recording import Answer, Process

PREFIX = "r/"
"""Of all registers."""
LOST_MAX = 6
"""Calls without an answer, after which a group's keys are given up: each doubles what a judge may have to look at."""
UPDATE_ATTEMPTS_MAX = 4


@dataclass(slots=True)
class Group:
    """Keys that are used together."""

    prefix: str
    keys: tuple[str, ...]
    operations: int = 0
    lost: int = 0


class Groups:
    """The groups of a run, all its clients together. What they know of each other here costs no message."""

    def __init__(self, mix: Mix) -> None:
        self._mix = mix
        self._generations = itertools.count()
        self._current = [self._new() for _ in range(mix.groups)]
        self.all = list(self._current)
        """Also those that were given up."""

    def pick(self, source: random.Random) -> Group:
        """One of the present groups."""
        place = source.randrange(len(self._current))
        group = self._current[place]
        if group.operations >= self._mix.group_operations_max or group.lost >= LOST_MAX:
            group = self._current[place] = self._new()
            self.all.append(group)
        group.operations += 1
        return group

    def _new(self) -> Group:
        prefix = f"{PREFIX}{next(self._generations)}/"
        return Group(prefix, tuple(f"{prefix}{place}" for place in range(self._mix.group_keys)))


class RegisterClient:
    """One process. It stops when `stopping` is set, after the call that is under way."""

    def __init__(
        self, process: Process, access: Access, groups: Groups, mix: Mix, source: random.Random, stopping: asyncio.Event
    ) -> None:
        self._process = process
        self._access = access
        self._groups = groups
        self._mix = mix
        self._source = source
        self._stopping = stopping
        self._written = 0
        self._last: dict[str, str | None] = {}
        """What a key held when it was last seen."""

    async def run(self) -> None:
        """Works until it is to stop."""
        names, weights = list(self._mix.weights), list(self._mix.weights.values())
        while not self._stopping.is_set():
            group = self._groups.pick(self._source)
            await self._operate(self._source.choices(names, weights)[0], group)
            await asyncio.sleep(self._source.uniform(0, 2 * self._mix.pause_s))

    async def _operate(self, name: str, group: Group) -> None:
        key = self._source.choice(group.keys)
        if name == "put":
            await self._do(group, "put", key, self._value())
        elif name == "get":
            await self._do(group, "get", key, None)
        elif name == "delete":
            await self._do(group, "delete", key, None)
        elif name == "cas":
            await self._do(group, "cas", key, [self._last.get(key), self._value()])
        elif name == "update":
            await self._update(group, key)
        elif name == "txn":
            await self._do(group, "txn", None, self._transaction(group))
        elif name == "get-prefix":
            await self._do(group, "txn", None, {"then": [["get", key] for key in group.keys]}, whole=True)
        else:
            await self._do(group, "txn", None, {"then": [["delete", key] for key in group.keys]}, whole=True)

    async def _do(self, group: Group, f: str, key: str | None, value: Json, *, whole: bool = False) -> Answer:
        call = self._whole(group, value) if whole else self._call(f, key, value)
        answer = await self._process.do(f, key, value, call)
        # Reads leave nothing behind when they are lost.
        group.lost += answer.outcome == "info" and f != "get"
        return answer

    async def _call(self, f: str, key: str | None, value: Json) -> Json:
        kv = self._access.kv
        if f == "txn":
            assert isinstance(value, dict)
            done = await kv.Txn(etcd.transaction(value), timeout=self._access.timeout_s)
            return etcd.transacted(done, versions=self._mix.tells_versions)
        assert key is not None
        name = key.encode()
        if f == "put":
            put = await kv.Put(PutRequest(key=name, value=str(value).encode()), timeout=self._access.timeout_s)
            self._last[key] = str(value)
            return {"revision": put.header.revision}
        if f == "get":
            found = await kv.Range(RangeRequest(key=name), timeout=self._access.timeout_s)
            self._last[key] = found.kvs[0].value.decode() if found.kvs else None
            first = found.kvs[0] if found.kvs else None
            return etcd.seen(first, found.header.revision, versions=self._mix.tells_versions)
        if f == "delete":
            gone = await kv.DeleteRange(DeleteRangeRequest(key=name), timeout=self._access.timeout_s)
            self._last[key] = None
            return {"deleted": gone.deleted, "revision": gone.header.revision}
        assert f == "cas"
        assert isinstance(value, list)
        old, new = value
        # A key that is not there cannot be compared by its value.
        guard: list[Json] = [key, "create_revision", "=", 0] if old is None else [key, "value", "=", old]
        txn = etcd.transaction({"compare": [guard], "then": [["put", key, new]]})
        swapped = await kv.Txn(txn, timeout=self._access.timeout_s)
        if swapped.succeeded:
            self._last[key] = str(new)
        return {"succeeded": swapped.succeeded, "revision": swapped.header.revision}

    async def _whole(self, group: Group, value: Json) -> Json:
        """All keys of a group by one Range or DeleteRange over their prefix, told as the transaction that it equals."""
        assert isinstance(value, dict)
        steps = value["then"]
        assert isinstance(steps, list)
        reads = isinstance(steps[0], list) and steps[0][0] == "get"
        low, high = group.prefix.encode(), etcd.prefix_end(group.prefix)
        versions = self._mix.tells_versions
        results: list[Json]
        if reads:
            found = await self._access.kv.Range(RangeRequest(key=low, range_end=high), timeout=self._access.timeout_s)
            there = {each.key.decode(): each for each in found.kvs}
            results = [etcd.seen(there.get(key), None, versions=versions) for key in group.keys]
            return {"succeeded": True, "revision": found.header.revision, "results": results}
        gone = await self._access.kv.DeleteRange(
            DeleteRangeRequest(key=low, range_end=high, prev_kv=True), timeout=self._access.timeout_s
        )
        deleted = {each.key.decode() for each in gone.prev_kvs}
        results = [{"deleted": int(key in deleted)} for key in group.keys]
        return {"succeeded": True, "revision": gone.header.revision, "results": results}

    async def _update(self, group: Group, key: str) -> None:
        """Reads, and writes if nothing has changed since; when the answer is lost, once more at another member.

        What clients of etcd do who must do a thing once: the comparison makes the repetition harmless.
        """
        answer = await self._do(group, "get", key, None)
        if answer.outcome != "ok":
            return
        assert isinstance(answer.value, dict)
        mod = answer.value.get("mod_revision", 0)
        asked: Json = {
            "compare": [[key, "mod_revision", "=", mod]],
            "then": [["put", key, self._value()]],
            "else": [["get", key]],
        }
        for _ in range(UPDATE_ATTEMPTS_MAX):
            answer = await self._do(group, "txn", None, asked)
            if answer.outcome == "ok" or self._stopping.is_set():
                return

    def _transaction(self, group: Group) -> dict[str, Json]:
        """Some steps on some of the keys, at times behind a comparison."""
        source = self._source
        keys = source.sample(group.keys, source.randint(1, len(group.keys)))

        def steps() -> list[Json]:
            made: list[Json] = []
            for key in keys:
                kind = source.choice(("put", "put", "get", "delete"))
                made.append(["put", key, self._value()] if kind == "put" else [kind, key])
            return made

        value: dict[str, Json] = {"then": steps()}
        if source.random() < 0.5:
            key = source.choice(keys)
            last = self._last.get(key)
            value["compare"] = [[key, "create_revision", "=", 0] if last is None else [key, "value", "=", last]]
            value["else"] = steps() if source.random() < 0.5 else []
        return value

    def _value(self) -> str:
        self._written += 1
        return f"{self._process.name}:{self._written}"
