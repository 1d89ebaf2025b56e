"""Three kv members, two lock processes, and clients that hold locks and write under them, in a simulated world.

Nothing is replaced but the doors: the wiring of `services.kv.main` and `services.lock.main`, our RPC engine, the client
of `cluster.clients.lock`.
"""

import asyncio

import grpc.aio

from cluster.clients.lock import Grant, LockError, Locks, NotGranted
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import Compare, PutRequest, RequestOp, TxnRequest
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub
from cluster.rpc.engine import create_channel
from cluster.telemetry.config import AdminSection
from orrery.checkers.history import Recorder
from runtime import Runtime, SyncFailed
from runtime.process import StopSignal
from runtime.sim import SimHost, World
from services.kv import main as kv_main
from services.kv.config import KvConfig, KvSection
from services.lock import main as lock_main
from services.lock.config import LockConfig, LockSection

MEMBERS = ("kv-1", "kv-2", "kv-3")
PROCESSES = ("lock-1", "lock-2")
CLIENTS = ("client-1", "client-2", "client-3", "client-4")
NAMES = ("ledger", "report")
DATA = b"data/"
"""Where clients write, below it the lock's name."""
TTL_S = 3
"""Of a session: the pauses that a scenario makes last longer."""
WAIT_S = 8.0
CALL_S_MAX = 3.0
WRITES_MAX = 6
"""Writes under one grant."""


class LockCluster:
    """The hosts, and what the clients saw."""

    def __init__(self, world: World, recorder: Recorder, *, lock_delay_s: int, fences: bool) -> None:
        """With `fences` off, clients write without comparing: what somebody does who trusts a lock."""
        self.world = world
        self.members = [world.host(name) for name in MEMBERS]
        self.processes = [world.host(name) for name in PROCESSES]
        self.clients = [world.host(name) for name in CLIENTS]
        self.stopping = False
        self.granted: list[tuple[str, int]] = []
        """Names and tokens that clients were given."""
        self.lost = 0
        self.holders: set[str] = set()
        """Clients that believe to hold a lock."""
        self._fences = fences
        self._lock_delay_s = lock_delay_s
        self._recorder = recorder

    @property
    def servers(self) -> list[SimHost]:
        """All hosts that serve."""
        return [*self.members, *self.processes]

    def boot_servers(self) -> None:
        """Starts every server that does not run."""
        for host in self.servers:
            if host.process is None:
                self.boot(host)

    def boot(self, host: SimHost) -> None:
        """Starts one server."""

        async def member(runtime: Runtime) -> None:
            try:
                await kv_main.serve_on(runtime, _kv_config(host.name), StopSignal())
            except* SyncFailed:
                host.tell("ended by a failed sync")

        async def process(runtime: Runtime) -> None:
            await lock_main.serve_on(
                _lock_config(host.name), StopSignal(), clock=runtime.clock, random=runtime.random, net=runtime.net
            )

        host.boot(member if host.name in MEMBERS else process)

    def boot_clients(self) -> "list[asyncio.Future[None]]":
        """Starts every client that does not run; they end when told to stop."""
        return [self._boot_client(host) for host in self.clients if host.process is None]

    def _boot_client(self, host: SimHost) -> "asyncio.Future[None]":
        who = f"{host.name}#{host.lives + 1}"

        async def client(runtime: Runtime) -> None:
            async with locks_of(runtime, self._lock_delay_s) as locks:
                channels = [kv_channel(runtime, member) for member in MEMBERS]
                while not self.stopping:
                    await self._operate(runtime, who, locks, channels)
                    await asyncio.sleep(runtime.random.random() * 0.2)
                for channel in channels:
                    await channel.close()

        return host.boot(client)

    async def _operate(self, runtime: Runtime, who: str, locks: Locks, channels: list[grpc.aio.Channel]) -> None:
        """Takes a lock, writes under it, and gives it back."""
        name = NAMES[runtime.random.integer(0, len(NAMES))]
        invocation = self._recorder.invoke(who, "acquire", name)
        is_granted = False
        try:
            # Some do not even listen when they are told that they lost it.
            listens = runtime.random.random() < 0.5
            async with locks.hold(name, wait_s=WAIT_S, cancels=listens) as grant:
                self._recorder.ok(invocation, grant.token)
                is_granted = True
                self.holders.add(who.partition("#")[0])
                self.granted.append((name, grant.token))
                for _ in range(runtime.random.integer(0, WRITES_MAX)):
                    await self._write(who, name, grant, channels[runtime.random.integer(0, len(channels))])
                    await asyncio.sleep(runtime.random.random() * 0.3)
        except NotGranted:
            self._recorder.fail(invocation)
        except LockError as error:
            if is_granted:
                self.lost += 1
            else:
                self._recorder.info(invocation, error=str(error))
        finally:
            self.holders.discard(who.partition("#")[0])

    async def _write(self, who: str, name: str, grant: Grant, channel: grpc.aio.Channel) -> None:
        """Writes under a grant, whether it is still good or not: only kv can know."""
        put = RequestOp(request_put=PutRequest(key=DATA + name.encode(), value=b"%d" % grant.token))
        guards: list[Compare] = [grant.guard()] if self._fences else []
        invocation = self._recorder.invoke(who, "fenced-write", name, grant.token)
        try:
            answer = await KVStub(channel).Txn(TxnRequest(compare=guards, success=[put]), timeout=CALL_S_MAX)
        except grpc.aio.AioRpcError as error:
            self._recorder.info(invocation, error=error.code().name)
            return
        except asyncio.CancelledError:
            self._recorder.info(invocation, error="the grant was lost")
            raise
        if answer.succeeded:
            self._recorder.ok(invocation)
        else:
            self._recorder.fail(invocation)


def locks_of(runtime: Runtime, lock_delay_s: int = 0) -> Locks:
    """A client on a host."""
    return Locks(
        [f"{process}:2389" for process in PROCESSES],
        clock=runtime.clock,
        random=runtime.random,
        net=runtime.net,
        ttl_s=TTL_S,
        lock_delay_s=lock_delay_s,
    )


def kv_channel(runtime: Runtime, member: str) -> grpc.aio.Channel:
    """A channel to a member of kv."""
    return create_channel(f"{member}:2379", net=runtime.net, random=runtime.random)


def _kv_config(name: str) -> KvConfig:
    return KvConfig(
        node=name,
        data_dir="the simulated disk",
        admin=AdminSection(listen="0.0.0.0:2381"),
        kv=KvSection(
            listen="0.0.0.0:2379",
            advertise=f"{name}:2379",
            members=tuple(f"{member}={member}:2380" for member in MEMBERS),
        ),
    )


def _lock_config(name: str) -> LockConfig:
    return LockConfig(
        node=name,
        admin=AdminSection(listen="0.0.0.0:2391"),
        lock=LockSection(
            listen="0.0.0.0:2389", advertise=f"{name}:2389", kv=tuple(f"{member}:2379" for member in MEMBERS)
        ),
    )
