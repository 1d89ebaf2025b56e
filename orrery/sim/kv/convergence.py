"""Once nothing is broken any more: every member serves again and holds the same, and leases that nobody renews end.

Looked at last is everything that clients have written, so that what was lost shows in the histories.
"""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import HashKVRequest, HashKVResponse, PutRequest, RangeRequest
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub, MaintenanceStub
from orrery.checkers.history import Json
from orrery.sim.kv import etcd, leasing, locking, registers
from orrery.sim.kv.access import Access
from orrery.sim.kv.cluster import CALL_TIMEOUT_S, connect
from orrery.sim.kv.lists import ListClient
from orrery.sim.kv.recording import Process
from orrery.sim.kv.watching import Watcher
from orrery.sim.kv.workload import Workload
from orrery.sim.setting import Contradiction
from runtime import Runtime

ASK_AGAIN_S = 0.2
"""Between two looks whether everything works again."""
LAST_WATCH_S = 20.0
COMPARE_S = 1.0
"""Between two comparisons of what members hold, and two looks at leases."""


async def converge(workload: Workload) -> None:
    """Waits until everything works, and looks at everything. Raises Contradiction."""
    world = workload.cluster.world
    started_s, patience_s = world.virtual_s, workload.cluster.patience_s
    asker = world.host("asker")
    try:
        async with asyncio.timeout(patience_s):
            await asker.boot(lambda runtime: _Asker(runtime, workload).ask())
    except TimeoutError as error:
        text = f"not everything works {patience_s} s after all was healed\n{world.loop.describe_waiting()}"
        raise Contradiction("liveness", text) from error
    asker.tell(f"converged in {world.virtual_s - started_s:.3f} s")


class _Asker:
    """A client of its own."""

    def __init__(self, runtime: Runtime, workload: Workload) -> None:
        self._runtime = runtime
        self._workload = workload
        self._looks = 0
        self._revision = 0
        """Of the last look at all registers."""

    async def ask(self) -> None:
        """Everything, one after another. All the while members are compared: those that differ never agree again."""
        async with asyncio.TaskGroup() as group:
            comparing = group.create_task(self._compare(), name="compare")
            await self._ask()
            comparing.cancel()

    async def _ask(self) -> None:
        cluster = self._workload.cluster
        for member in cluster.names:
            await _until(lambda member=member: self._put(member))  # type: ignore[misc]
        await self._workload.ended()
        access = Access(self._runtime, cluster.names, cluster.world.stream("asker"))
        await _until(lambda: self._leases_have_ended(access), every_s=COMPARE_S)
        await _until(lambda: self._look_at_registers(access))
        await _until(lambda: self._look_at_lists(access))
        await self._watch_everything(access)
        await access.close()
        await _until(self._all_are_equal)

    async def _compare(self) -> None:
        while True:
            await self._hashes(0)
            await asyncio.sleep(COMPARE_S)

    async def _put(self, member: str) -> bool:
        channel = connect(self._runtime, member)
        try:
            await KVStub(channel).Put(PutRequest(key=b"final", value=member.encode()), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        finally:
            await channel.close()
        return True

    async def _leases_have_ended(self, access: Access) -> bool:
        for prefix in (leasing.PREFIX, locking.PREFIX):
            try:
                low, high = prefix.encode(), etcd.prefix_end(prefix)
                found = await access.kv.Range(RangeRequest(key=low, range_end=high), timeout=CALL_TIMEOUT_S)
            except grpc.aio.AioRpcError:
                return False
            if any(each.lease for each in found.kvs):
                return False
        return True

    async def _look_at_registers(self, access: Access) -> bool:
        """All by one read, each told as a read of its own."""
        workload = self._workload
        self._looks += 1
        low, high = registers.PREFIX.encode(), etcd.prefix_end(registers.PREFIX)
        keys = [key for group in workload.groups.all for key in group.keys]
        invoked = [workload.registers.invoke(f"asker-{self._looks}/{key}", "get", key) for key in keys]
        try:
            found = await access.kv.Range(RangeRequest(key=low, range_end=high), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        there = {each.key.decode(): each for each in found.kvs}
        self._revision = found.header.revision
        for key, invocation in zip(keys, invoked, strict=True):
            told = etcd.seen(there.get(key), self._revision, versions=workload.mix.tells_versions)
            workload.registers.ok(invocation, told)
        return True

    async def _look_at_lists(self, access: Access) -> bool:
        process = Process("asker", self._workload.transactions, self._workload.refusals)
        asked: list[Json] = [["r", name, None] for name in self._workload.lists.all]
        source = self._workload.cluster.world.random
        return (await ListClient(process, access, self._workload.lists, source).transact(asked)).outcome == "ok"

    async def _watch_everything(self, access: Access) -> None:
        """From as far back as the store can tell."""
        watcher = Watcher("asker/watch", self._workload.registers, access, registers.PREFIX, 1)
        while watcher.next <= self._revision:
            await watcher.watch(LAST_WATCH_S, asks_progress=False, until=self._revision)

    async def _all_are_equal(self) -> bool:
        """Whether all have all, and hold the same."""
        channel = connect(self._runtime, self._workload.cluster.names[0])
        try:
            seen = await KVStub(channel).Range(RangeRequest(key=b"final"), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        finally:
            await channel.close()
        hashes = await self._hashes(seen.header.revision)
        return len(hashes) == len(self._workload.cluster.names) and len(set(hashes.values())) == 1

    async def _hashes(self, revision: int) -> dict[str, tuple[int, int]]:
        """By member: how far it is compacted, and the hash of all that it holds up to a revision.

        At 0 it is the newest one that all who answer have. Who does not answer, or has not got so far, is left out.
        Raises Contradiction when two that are compacted alike hold different things.
        """
        names = self._workload.cluster.names
        if revision == 0:
            newest = [await self._hash(name, 0) for name in names]
            revision = min((answer.hash_revision for answer in newest if answer is not None), default=0)
        answers = {name: await self._hash(name, revision) for name in names} if revision else {}
        hashes = {name: (each.compact_revision, each.hash) for name, each in answers.items() if each is not None}
        by_compaction: dict[int, int] = {}
        for compacted, checksum in hashes.values():
            if by_compaction.setdefault(compacted, checksum) != checksum:
                told = ", ".join(f"{name} {each[1]:08x}" for name, each in hashes.items() if each[0] == compacted)
                raise Contradiction("convergence", f"members hold different things at revision {revision}: {told}")
        return hashes

    async def _hash(self, member: str, revision: int) -> HashKVResponse | None:
        channel = connect(self._runtime, member)
        try:
            return await MaintenanceStub(channel).HashKV(HashKVRequest(revision=revision), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return None
        finally:
            await channel.close()


async def _until(holds: Callable[[], Awaitable[bool]], every_s: float = ASK_AGAIN_S) -> None:
    """Asks again and again: what is asked is elsewhere, so there is no event to wait for."""
    while True:
        if await holds():
            return
        await asyncio.sleep(every_s)
