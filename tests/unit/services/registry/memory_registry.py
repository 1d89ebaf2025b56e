"""A store that keeps everything in the copy itself: what is written is there at once, and leases end when told to.

catalogue, registrar, store = memory_registry(clock)
await registrar.register(Instance("", "", "web", address="10.0.0.1", port=80), [ttl_check])
await registrar.beat([Beat("", "service:web", Health.PASSING)])
store.expire("orrery", "service:web")    # as if nobody had beaten in time
store.add_process("registry-1")
store.away = True                        # kv gives no answer
"""

from runtime import Clock
from services.registry.catalogue import Key, KeyKind, MemoryCatalogue, ProcessRecord, Update
from services.registry.domain import Node
from services.registry.interface import Unavailable
from services.registry.planning import Plan
from services.registry.registrar import CatalogueRegistrar, Judge, judge_plainly
from services.registry.store import LeaseGone, Outcome

SHARED = Node("orrery", "127.0.0.1")


class MemoryStore:
    """A `Store` over a catalogue."""

    def __init__(self, copy: MemoryCatalogue) -> None:
        self._copy = copy
        self.revision = max(1, copy.revision)
        self.leases: dict[int, int] = {}
        """TTLs in seconds, by lease."""
        self._granted = 0
        self.renewals = 0
        self.commits = 0
        self.away = False
        """Whether kv gives no answer."""

    async def commit(self, plan: Plan) -> Outcome:
        """Does a plan."""
        self._check_there()
        self.commits += 1
        for key, revision in plan.guards.items():
            stored = self._copy.stored(key)
            if revision != (stored.revision if stored is not None else 0):
                return Outcome(False, self.revision, False)
        if any(self._copy.instances_on(node) for node in plan.empty_nodes):
            return Outcome(False, self.revision, False)
        if any(write.lease and write.lease not in self.leases for write in plan.writes.values()):
            raise LeaseGone
        if plan.writes:
            self.revision += 1
            updates = [Update(write.key, write.value, self.revision, write.lease) for write in plan.writes.values()]
            self._copy.apply(updates, self.revision)
        return Outcome(True, self.revision, False)

    async def catch_up(self) -> None:
        """It always has."""
        self._check_there()

    async def grant(self, ttl_s: int) -> int:
        """Makes a lease."""
        self._check_there()
        self._granted += 1
        self.leases[self._granted] = ttl_s
        return self._granted

    async def renew(self, lease: int) -> bool:
        """Counts it."""
        self._check_there()
        self.renewals += 1
        return lease in self.leases

    def forget(self, lease: int) -> None:
        """Ends a lease."""
        self.leases.pop(lease, None)

    # ---- for tests

    def expire(self, node: str, check_id: str) -> None:
        """The time of a TTL check is over."""
        self._end(Key(KeyKind.BEAT, node, check_id))

    def add_process(self, name: str) -> None:
        """A process of the registry lives."""
        self.revision += 1
        update = Update(Key(KeyKind.PROCESS, name), ProcessRecord(), self.revision)
        self._copy.apply([update], self.revision)

    def remove_process(self, name: str) -> None:
        """It does not any more."""
        self._end(Key(KeyKind.PROCESS, name))

    def _end(self, key: Key) -> None:
        stored = self._copy.stored(key)
        if stored is not None:
            self.leases.pop(stored.lease, None)
            self.revision += 1
            self._copy.apply([Update(key, None, self.revision)], self.revision)

    def _check_there(self) -> None:
        if self.away:
            raise Unavailable("kv gives no answer", definite=True)
        self._copy.heard()


def memory_registry(
    clock: Clock, *, shared: Node = SHARED, judge: Judge = judge_plainly
) -> tuple[MemoryCatalogue, CatalogueRegistrar, MemoryStore]:
    """A catalogue that is ready and empty, and who writes to it."""
    copy = MemoryCatalogue(clock)
    copy.reset((), 1)
    store = MemoryStore(copy)
    return copy, CatalogueRegistrar(copy, store, clock, shared=shared, judge=judge), store
