"""The clients of a run: three hosts, and on each the processes that the mix names."""

import asyncio
import collections
from collections.abc import Coroutine
from typing import Any

from orrery.sim.histories import Histories
from orrery.sim.kv.access import Access
from orrery.sim.kv.cluster import KvCluster
from orrery.sim.kv.compacting import Compactor
from orrery.sim.kv.leasing import LeaseClient, Leases
from orrery.sim.kv.lists import ListClient, Lists
from orrery.sim.kv.locking import LockClient
from orrery.sim.kv.mix import Mix
from orrery.sim.kv.recording import Process
from orrery.sim.kv.registers import PREFIX, Groups, RegisterClient
from orrery.sim.kv.watching import Watcher
from runtime import Runtime


class Workload:
    """The clients of a cluster, and the histories of what they see."""

    def __init__(self, cluster: KvCluster, histories: Histories, mix: Mix | None = None) -> None:
        """Without a mix, the seed draws one."""
        self.cluster = cluster
        self.mix = mix if mix is not None else Mix.draw(cluster.world.stream("mix"), len(cluster.clients))
        self.registers = histories.record("kv", "kv", "watch")
        self.transactions = histories.record("lists", "list-append")
        self.mutexes = histories.record("locks", "lock")
        self.sessions = histories.record("leases", "lease")
        self.groups = Groups(self.mix)
        self.lists = Lists()
        self.leases = Leases()
        self.refusals: collections.Counter[str] = collections.Counter()
        """The status codes of calls without an answer."""
        self._stopping = asyncio.Event()
        self._running: list[asyncio.Future[None]] = []

    def start(self) -> None:
        """Boots the clients."""
        self._running = [
            client.boot(lambda runtime, name=client.name: self._work(runtime, name))  # type: ignore[misc]
            for client in self.cluster.clients
        ]

    def stop(self) -> None:
        """Tells the clients to end, each after the call that is under way."""
        self._stopping.set()

    async def ended(self) -> None:
        """Waits until the clients have ended."""
        await asyncio.gather(*self._running)

    async def _work(self, runtime: Runtime, host: str) -> None:
        source = self.cluster.world.stream("client", host)
        access = Access(runtime, self.cluster.names, source, timeout_s=self.mix.timeout_s)
        async with asyncio.TaskGroup() as group:
            for number, work in enumerate(self._processes(host, access)):
                group.create_task(work, name=f"{host}/{number}")
        await access.close()

    def _processes(self, host: str, access: Access) -> list[Coroutine[Any, Any, None]]:
        mix, stopping, refusals = self.mix, self._stopping, self.refusals
        stream = self.cluster.world.stream
        work: list[Coroutine[Any, Any, None]] = []
        for number in range(mix.registers):
            name = f"{host}/{number}"
            process = Process(name, self.registers, refusals)
            work.append(RegisterClient(process, access, self.groups, mix, stream("registers", name), stopping).run())
        for number in range(mix.watchers):
            name = f"{host}/watch-{number}"
            source = stream("watch", name)
            watcher = Watcher(name, self.registers, access, PREFIX, source.choice((0, 1)))
            work.append(watcher.run(mix.watch_life_s, source, stopping))
        for number in range(mix.lists):
            name = f"{host}/{number}"
            process = Process(name, self.transactions, refusals)
            work.append(ListClient(process, access, self.lists, stream("lists", name)).run(mix.pause_s, stopping))
        for number in range(mix.locks):
            name = f"{host}/{number}"
            process = Process(name, self.mutexes, refusals)
            work.append(LockClient(process, access, self.leases, stream("locks", name)).run(mix.pause_s, stopping))
        for number in range(mix.leases):
            name = f"{host}/{number}"
            process = Process(name, self.sessions, refusals)
            work.append(LeaseClient(process, access, self.leases, stream("leases", name)).run(mix.pause_s, stopping))
        if mix.compaction_s and host == self.cluster.clients[0].name:
            compactor = Compactor(access, self.registers, stream("compaction"))
            work.append(compactor.run(mix.compaction_s, stopping))
        return work
