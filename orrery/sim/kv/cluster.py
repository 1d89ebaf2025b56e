"""Three members of the real kv service and hosts for clients: gRPC bytes over SimNet, write-ahead logs on SimDisk.

Nothing is replaced but the doors: the wiring of `services.kv.main`, our RPC engine, the generated stubs, the Raft
driver.
"""

import asyncio
import errno
import random
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import grpc.aio

from cluster.raft.core.errors import InvariantBroken
from cluster.raft.driver.errors import ReplicaCorrupted
from cluster.rpc.engine import create_channel
from cluster.telemetry.config import AdminSection
from orrery.sim.faults import restore
from orrery.sim.kv.observer import ADMIN_PORT, CLIENT_PORT, Observer
from orrery.sim.setting import Contradiction
from runtime import Runtime, SyncFailed
from runtime.process import StopSignal
from runtime.sim import SimHost, World
from services.kv.config import KvConfig, KvSection
from services.kv.main import serve_on

EngineName: TypeAlias = Literal["memory", "lsm", "btree"]
CLIENTS = ("client-1", "client-2", "client-3")
CALL_TIMEOUT_S = 3.0
ASK_AGAIN_S = 0.2
"""Between two looks whether everything works again."""
RESTART_S = 0.5
"""After which a member that ended by itself is started again."""
CONTRADICTIONS_MAX = 3
"""So often a member is started again that ended because its state contradicts itself."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a cluster is built and configured. The numbers are small, so that half a minute sees what else takes days."""

    members: int = 3
    tick_ms: int = 100
    election_ms: int = 1000
    snapshot_log_bytes: int = 64 << 20
    snapshot_trailing_entries: int = 5000
    engines: tuple[EngineName, ...] = ("memory",)
    """Where the members keep their records, one after another and around again."""

    @staticmethod
    def draw(source: random.Random, members: int = 3, *, engines: bool = False) -> "Shape":
        """That of one seed. With `engines`, each member keeps its records where the seed says."""
        shape = Shape(
            members,
            snapshot_log_bytes=source.choice((4 << 10, 32 << 10, 64 << 20)),
            snapshot_trailing_entries=source.choice((0, 20, 5000)),
        )
        if engines:
            names: tuple[EngineName, ...] = ("lsm", "btree", "memory")
            # One of each is a comparison in itself: members that hold different things are found by their hashes.
            drawn = names if source.random() < 0.5 else tuple(source.choice(names[:2]) for _ in range(members))
            shape = replace(shape, engines=drawn)
        return shape


class KvCluster:
    """The members, and the hosts of the clients."""

    def __init__(self, world: World, shape: Shape | None = None, *, patience_s: float = 120.0) -> None:
        self.world = world
        self.patience_s = patience_s
        """How long everything may take to work again once nothing is broken any more."""
        self.shape = shape or Shape()
        self.members = [world.host(f"kv-{number}") for number in range(1, self.shape.members + 1)]
        self.clients = [world.host(name) for name in CLIENTS]
        self.corrupted: dict[SimHost, str] = {}
        """Members that refused to run on what their disks hold, in their latest lives, and what they said."""
        self.broken: list[str] = []
        """What members said that ended because their own state contradicts itself. They are started again, so that the
        judges see what clients get from them; but a run in which one did so never passes."""
        self._ended: dict[SimHost, int] = {}
        """In which life a member ended by itself, and may be started again."""
        self.observer = Observer(world)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the members."""
        return tuple(member.name for member in self.members)

    def boot_members(self) -> None:
        """Starts every member that does not run."""
        for member in self.members:
            if member.process is None:
                self.boot(member)

    def boot(self, member: SimHost) -> None:
        """Starts one member. Like any init system, starts it again when it ends by itself and may come back."""
        self.corrupted.pop(member, None)

        async def main(runtime: Runtime) -> None:
            try:
                await serve_on(runtime, self._config(member.name), StopSignal())
            except* SyncFailed:
                # As it must: nothing is known of what was written since the last good sync, so the process ends.
                self._ends(member, "by a failed sync")
            except* ReplicaCorrupted as refusals:
                self.corrupted[member] = str(refusals.exceptions[0])
                member.tell("refuses to run: its log is damaged")
            except* (InvariantBroken, AssertionError) as contradictions:
                self.broken.append(f"{member.name}: {contradictions.exceptions[0]!r}")
                self._ends(member, f"by {self.broken[-1]}")
            except* OSError as failures:
                if failures.split(_is_full)[1] is not None:
                    raise
                self._ends(member, "by a full disk")

        ended = member.boot(main)
        ended.add_done_callback(lambda _: self._restart_later(member))

    def _ends(self, member: SimHost, how: str) -> None:
        member.tell(f"ended {how}")
        self._ended[member] = member.lives

    def _restart_later(self, member: SimHost) -> None:
        if self._ended.get(member) == member.lives:
            asyncio.get_running_loop().call_later(RESTART_S, self._restart, member, member.lives)

    def _restart(self, member: SimHost, life: int) -> None:
        contradictions = sum(text.startswith(f"{member.name}: ") for text in self.broken)
        if contradictions <= CONTRADICTIONS_MAX and member.process is None and member.lives == life and member.powered:
            self.boot(member)

    async def leader(self) -> SimHost | None:
        """Who says that it leads, of those who say so in the newest term."""
        statuses = await self.observer.statuses(self.members)
        terms = [
            status.raftTerm if status is not None and status.leader == status.header.member_id else 0
            for status in statuses
        ]
        newest = max(terms)
        return self.members[terms.index(newest)] if newest else None

    async def settled(self) -> SimHost:
        """Waits until somebody leads, and says who. Raises Contradiction."""
        try:
            async with asyncio.timeout(self.patience_s):
                while True:
                    if (leader := await self.leader()) is not None:
                        return leader
                    await asyncio.sleep(ASK_AGAIN_S)
        except TimeoutError as error:
            raise Contradiction("liveness", f"nobody has led for {self.patience_s} s") from error

    async def whole(self) -> None:
        """Waits until every member takes part: none is down, or rebuilds what it lost. Raises Contradiction."""
        try:
            async with asyncio.timeout(self.patience_s):
                while True:
                    if await self.observer.all_take_part(self.members):
                        return
                    await asyncio.sleep(ASK_AGAIN_S)
        except TimeoutError as error:
            raise Contradiction("liveness", f"a member does not take part after {self.patience_s} s") from error

    def heal(self) -> None:
        """Ends every fault, and boots what is down."""
        restore(self)

    def _config(self, name: str) -> KvConfig:
        shape = self.shape
        return KvConfig(
            node=name,
            data_dir="the simulated disk",
            admin=AdminSection(listen=f"0.0.0.0:{ADMIN_PORT}"),
            kv=KvSection(
                listen=f"0.0.0.0:{CLIENT_PORT}",
                advertise=f"{name}:{CLIENT_PORT}",
                members=tuple(f"{member.name}={member.name}:2380" for member in self.members),
                tick_ms=shape.tick_ms,
                election_ms=shape.election_ms,
                snapshot_log_bytes=shape.snapshot_log_bytes,
                snapshot_trailing_entries=shape.snapshot_trailing_entries,
                engine=shape.engines[self.names.index(name) % len(shape.engines)],
            ),
        )


def connect(runtime: Runtime, member: str) -> grpc.aio.Channel:
    """A channel to a member's client port."""
    return create_channel(f"{member}:{CLIENT_PORT}", net=runtime.net, random=runtime.random)


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOSPC
