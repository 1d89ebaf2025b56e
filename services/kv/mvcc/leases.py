"""The leases as every replica knows them: which there are, for how long they were granted, and which keys they hold.

When a lease ends is not known here: that takes a clock, and belongs to the leader's lessor.
"""

from collections.abc import Iterator

TTL_MAX_S = 9_000_000_000
"""etcd's limit: a TTL in nanoseconds still fits a signed 64-bit integer, almost."""


class Lease:
    """One lease."""

    __slots__ = ("id", "keys", "remaining_ttl_s", "ttl_s")

    def __init__(self, lease_id: int, ttl_s: int, remaining_ttl_s: int = 0) -> None:
        self.id = lease_id
        self.ttl_s = ttl_s
        self.remaining_ttl_s = remaining_ttl_s
        """The last checkpoint; 0 when there is none."""
        self.keys: dict[bytes, None] = {}
        """The keys that end with it. A dict, because a set's order is not the same on all replicas."""


class LeaseTable:
    """All leases by id."""

    __slots__ = ("_leases", "epoch")

    def __init__(self) -> None:
        self._leases: dict[int, Lease] = {}
        self.epoch = 0
        """The Raft term of the leader that keeps the time. It says what expires; its predecessors are not believed."""

    def __len__(self) -> int:
        return len(self._leases)

    def __iter__(self) -> Iterator[Lease]:
        """In order of ids: snapshots of replicas with the same state are equal."""
        return iter([self._leases[lease_id] for lease_id in sorted(self._leases)])

    def get(self, lease_id: int) -> Lease | None:
        """The lease of that id, or None."""
        return self._leases.get(lease_id)

    def add(self, lease: Lease) -> None:
        """Adds a lease whose id is free."""
        assert lease.id not in self._leases
        self._leases[lease.id] = lease

    def remove(self, lease_id: int) -> None:
        """Removes a lease. Its keys are the caller's to delete."""
        del self._leases[lease_id]

    def attach(self, lease_id: int, key: bytes) -> None:
        """Ties a key to a lease that exists."""
        self._leases[lease_id].keys[key] = None

    def detach(self, lease_id: int, key: bytes) -> None:
        """Unties a key; one that is not tied is fine."""
        lease = self._leases.get(lease_id)
        if lease is not None:
            lease.keys.pop(key, None)
