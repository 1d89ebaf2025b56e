"""What a kv member measures, under the names that etcd's public dashboards read.

Everything that can be read off the member's state is read when it is scraped: that costs nothing in between.
"""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from cluster.raft.core.types import Stage
from cluster.replica.interface import Leadership, Replicated
from services.kv.backend.commit_times import BOUNDS_S
from services.kv.node import KvNode
from services.kv.state_machine import Backend, Result

ROUND_TRIP_BUCKETS_S = tuple(0.0001 * 2**power for power in range(16))
"""etcd's: from 0.1 ms to 3.3 s."""
SYNC_BUCKETS_S = tuple(0.001 * 2**power for power in range(14))
"""etcd's: from 1 ms to 8.2 s."""


class KvMetrics:
    """A collector over one member, and the histogram that its transport feeds."""

    def __init__(
        self,
        registry: CollectorRegistry,
        node: KvNode,
        replica: Replicated[Result],
        sent_failures: Callable[[], Mapping[int, int]],
    ) -> None:
        """`sent_failures` gives, by member id, how many messages could not be sent."""
        self._node = node
        self._replica = replica
        self._sent_failures = sent_failures
        self._leader = 0
        self._leader_changes = 0
        self._names = {member.id: f"{member.id:x}" for member in node.identity.members}
        replica.on_leadership(self._leadership_changed)
        registry.register(self)

    def _leadership_changed(self, leadership: Leadership) -> None:
        if leadership.leader not in (0, self._leader):
            self._leader = leadership.leader
            self._leader_changes += 1

    def collect(self) -> Iterator[Metric]:
        """All samples, for prometheus_client."""
        store, hub, status = self._node.machine.store, self._node.hub, self._replica.status
        leadership = self._replica.leadership
        gauges: tuple[tuple[str, str, float], ...] = (
            ("etcd_server_has_leader", "Whether a leader is known.", leadership.leader != 0),
            ("etcd_server_is_leader", "Whether this member leads.", leadership.is_self),
            ("etcd_server_proposals_applied_total", "Log entries applied here.", status.applied_index),
            (
                "etcd_server_proposals_pending",
                "Log entries that are not applied yet.",
                status.last_index - status.applied_index,
            ),
            ("etcd_server_quota_backend_bytes", "Limit of the store; 0: none.", 0),
            ("etcd_mvcc_db_total_size_in_bytes", "Bytes of all records.", store.engine.size_bytes),
            ("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of all records.", store.engine.size_bytes),
            ("etcd_debugging_mvcc_keys_total", "Keys that exist.", len(store.live)),
            ("etcd_debugging_mvcc_current_revision", "The newest revision.", store.revision),
            ("etcd_debugging_mvcc_compact_revision", "The compacted revision.", store.compact_revision),
            ("etcd_debugging_mvcc_watcher_total", "Watchers.", hub.watchers),
            ("etcd_debugging_mvcc_slow_watcher_total", "Watchers that read from the store.", hub.watchers_behind),
            ("orrery_kv_leases", "Leases.", len(store.leases)),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(name, text, value=float(value))
        counters: tuple[tuple[str, str, int], ...] = (
            ("etcd_server_leader_changes_seen", "Changes of leader.", self._leader_changes),
            ("etcd_server_proposals_committed", "Log entries committed.", status.commit_index),
            ("etcd_server_proposals_failed", "Proposals that failed here.", self._node.calls.proposals_failed),
        )
        for name, text, count in counters:
            yield CounterMetricFamily(name, text, value=count)
        failures = CounterMetricFamily(
            "etcd_network_peer_sent_failures", "Messages that could not be sent to a peer.", labels=("To",)
        )
        for member_id, count in self._sent_failures().items():
            failures.add_metric([self._names.get(member_id, f"{member_id:x}")], count)
        yield failures
        backend = self._node.machine.backend
        if backend is not None:
            yield from backend_samples(backend)


def backend_samples(backend: Backend) -> Iterator[Metric]:
    """How long commits took, and what the engine tells of itself. With everything in memory there is neither."""
    counts = backend.commits.cumulative()
    buckets = [(str(bound_s), float(count)) for bound_s, count in zip(BOUNDS_S, counts, strict=False)]
    yield HistogramMetricFamily(
        "etcd_disk_backend_commit_duration_seconds",
        "Seconds that it took to make everything applied so far durable in the engine.",
        buckets=[*buckets, ("+Inf", float(counts[-1]))],
        sum_value=backend.commits.sum_s,
    )
    for measure in backend.engine.measures():
        family = CounterMetricFamily if measure.is_counter else GaugeMetricFamily
        yield family(f"orrery_{measure.name}", measure.text, value=measure.value)


class RebuildMetrics:
    """Whether this member takes part, and what it had to rebuild."""

    def __init__(self, registry: CollectorRegistry, stage: Callable[[], Stage], condemned: Callable[[], int]) -> None:
        """`condemned` gives how many damaged logs are kept."""
        self._stage = stage
        self._condemned = condemned
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """All samples, for prometheus_client."""
        stage = self._stage()
        for name, text, value in (
            ("orrery_raft_joining", "Whether this member asks if it is new.", stage is Stage.JOINING),
            ("orrery_raft_recovering", "Whether this member rebuilds a lost log.", stage is Stage.RECOVERING),
            ("orrery_raft_condemned_logs", "Damaged logs that are kept aside.", self._condemned()),
        ):
            yield GaugeMetricFamily(name, text, value=float(value))


class RoundTrips:
    """Times between a heartbeat and its answer, by peer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._histogram = Histogram(
            "etcd_network_peer_round_trip_time_seconds",
            "Seconds between a heartbeat and its answer.",
            ("To",),
            buckets=ROUND_TRIP_BUCKETS_S,
            registry=registry,
        )
        self._by_member: dict[int, Histogram] = {}

    def observe(self, member_id: int, seconds: float) -> None:
        """Takes one measurement."""
        histogram = self._by_member.get(member_id)
        if histogram is None:
            histogram = self._by_member[member_id] = self._histogram.labels(f"{member_id:x}")
        histogram.observe(seconds)


def sync_times(registry: CollectorRegistry) -> Callable[[float], None]:
    """Registers the histogram of the log's syncs, and returns what takes one measurement, in seconds."""
    return Histogram(
        "etcd_disk_wal_fsync_duration_seconds",
        "Seconds that a synced write of the log took.",
        buckets=SYNC_BUCKETS_S,
        registry=registry,
    ).observe
