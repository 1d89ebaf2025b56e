"""One ordeal of a cluster: steady traffic, a fault, healing, convergence, a last write, and the judgement."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from cluster.pb.etcd.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from tests.chaos.history import History, read
from tests.chaos.judge import Verdict, judge
from tests.chaos.load import CHANNEL_OPTIONS, PREFIX, WRITES_PER_SECOND, Load
from tests.conformance.clusters import NODES, Cluster

STEADY_RATE = 0.9 * WRITES_PER_SECOND
"""Traffic is steady when nine in ten of the intended puts are acknowledged."""
STEADY_SECONDS_MAX = 60.0
RECOVERY_SECONDS_MAX = 30.0
CONVERGENCE_SECONDS_MAX = 60.0
RPC_SECONDS_MAX = 5.0
PAGE = 1000


@dataclass(frozen=True)
class Position:
    """Where a member stands."""

    node: str
    leads: bool
    revision: int
    applied: int
    committed: int


class Ordeal:
    """What a fault may use: the cluster, its traffic, and a place to note what it does."""

    def __init__(self, cluster: Cluster, load: Load, history: History) -> None:
        self.cluster = cluster
        self.load = load
        self._history = history
        self._noted = 0

    def note(self, what: str) -> None:
        """Writes into the history what is done to the cluster."""
        self._noted += 1
        self._history.record("nemesis", "info", what, self._noted)

    async def leader(self) -> str:
        """The member that leads; waits until there is one."""
        deadline = time.monotonic() + RECOVERY_SECONDS_MAX
        while time.monotonic() < deadline:
            for position in await positions(self.cluster):
                if position.leads:
                    return position.node
            await asyncio.sleep(0.05)
        raise TimeoutError(f"no leader within {RECOVERY_SECONDS_MAX:g} s")

    async def served(self, more: int = 2 * WRITES_PER_SECOND) -> None:
        """Waits until so many more puts have been acknowledged: the cluster serves."""
        await self.load.wait_for_count(self.load.count + more, RECOVERY_SECONDS_MAX)

    async def do(self, what: str, call: Callable[..., None], *arguments: str) -> None:
        """Notes and runs something that blocks, while the traffic goes on."""
        self.note(" ".join([what, *arguments]))
        await asyncio.to_thread(call, *arguments)


Fault = Callable[[Ordeal], Awaitable[None]]


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to one member, for one question."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        yield channel


async def positions(cluster: Cluster) -> list[Position]:
    """Where every member that answers stands."""
    found = []
    for node, address in zip(NODES, cluster.client_addresses, strict=True):
        async with connected(address) as channel:
            with contextlib.suppress(grpc.aio.AioRpcError):
                status = await rpc_pb2_grpc.MaintenanceStub(channel).Status(rpc_pb2.StatusRequest(), timeout=1)
                leads = status.leader == status.header.member_id
                found.append(Position(node, leads, status.header.revision, status.raftAppliedIndex, status.raftIndex))
    return found


async def converge(cluster: Cluster) -> float:
    """Waits until all members have applied the same, and returns how many seconds that took."""
    began = time.monotonic()
    while time.monotonic() < began + CONVERGENCE_SECONDS_MAX:
        now = await positions(cluster)
        indexes = {index for position in now for index in (position.applied, position.committed)}
        if len(now) == len(NODES) and len(indexes) == 1 and len({position.revision for position in now}) == 1:
            return time.monotonic() - began
        await asyncio.sleep(0.05)
    raise TimeoutError(f"not converged within {CONVERGENCE_SECONDS_MAX:g} s: {await positions(cluster)}")


async def contents(address: str, *, serializable: bool) -> dict[str, tuple[str, int]]:
    """Everything that the traffic wrote, as one member tells it, page by page at one revision."""
    found: dict[str, tuple[str, int]] = {}
    start, revision = PREFIX.encode(), 0
    end = PREFIX[:-1].encode() + b"0"
    async with connected(address) as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        while True:
            request = rpc_pb2.RangeRequest(
                key=start, range_end=end, limit=PAGE, revision=revision, serializable=serializable
            )
            answer = await stub.Range(request, timeout=RPC_SECONDS_MAX)
            revision = revision or answer.header.revision
            found.update({kv.key.decode(): (kv.value.decode(), kv.mod_revision) for kv in answer.kvs})
            if not answer.more:
                return found
            start = answer.kvs[-1].key + b"\0"


async def final_write(address: str, node: str) -> None:
    """A last put by way of one member, and a read of it; either may fail the test."""
    async with connected(address) as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        key = f"final/{node}".encode()
        await stub.Put(rpc_pb2.PutRequest(key=key, value=b"written"), timeout=RPC_SECONDS_MAX)
        answer = await stub.Range(rpc_pb2.RangeRequest(key=key), timeout=RPC_SECONDS_MAX)
        if [kv.value for kv in answer.kvs] != [b"written"]:
            raise AssertionError(f"the last write by way of {node} is not there")


async def endure(cluster: Cluster, fault: Fault, path: Path) -> Verdict:
    """Puts a cluster through one fault, and judges it.

    The fault holds until it has healed itself: when it returns, every member runs. Raises TimeoutError when the
    traffic does not become steady before or after it, or the members do not converge.
    """
    with History(path) as history:
        async with Load(cluster.client_addresses, history) as load:
            ordeal = Ordeal(cluster, load, history)
            await ordeal.leader()
            await load.wait_for_rate(STEADY_RATE, STEADY_SECONDS_MAX)
            steady = load.rate()
            await fault(ordeal)
            ordeal.note("healed")
            await load.wait_for_rate(STEADY_RATE, STEADY_SECONDS_MAX)
    converged_s = await converge(cluster)
    for node, address in zip(NODES, cluster.client_addresses, strict=True):
        await final_write(address, node)
    await converge(cluster)

    stores = [await contents(address, serializable=False) for address in cluster.client_addresses]
    stores += [await contents(address, serializable=True) for address in cluster.client_addresses]
    verdict = judge(read(path), stores[0])
    # What one member holds, every member holds; and by now also without asking the leader.
    verdict.faults += [f"member {i} holds something else" for i, store in enumerate(stores) if store != stores[0]]
    print(f"{cluster.name}: steady at {steady:g} puts/s; {verdict.describe()}; converged in {converged_s:.2f} s")
    return verdict
