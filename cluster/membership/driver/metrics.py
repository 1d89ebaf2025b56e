"""What a member measures. Read off its state when it is scraped: that costs nothing in between."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from cluster.membership.core import Status
from cluster.membership.driver.membership import Membership


class MembershipMetrics:
    """A collector over one membership."""

    def __init__(self, registry: CollectorRegistry, membership: Membership) -> None:
        self._membership = membership
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """All samples, for prometheus_client."""
        membership, core = self._membership, self._membership.core
        members = GaugeMetricFamily(
            "orrery_membership_members", "Members by what is believed of them.", labels=("status",)
        )
        counts = dict.fromkeys((Status.ALIVE, Status.SUSPECT), 0)
        for member in core.members():
            counts[member.status] += 1
        for status, count in counts.items():
            members.add_metric((status.name.lower(),), count)
        yield members
        gauges: tuple[tuple[str, str, float], ...] = (
            ("health", "What the member thinks of its own health: 0 is well; probes slow down with it.", core.health),
            ("joined", "Whether it has found its cluster.", membership.joined),
            ("incarnation", "How often the member had to speak up for itself, or to say something new.",
             core.own.incarnation),
            ("rumours", "News that it still has to tell.", core.rumours),
        )  # fmt: skip
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"orrery_membership_{name}", text, value=float(value))
        counters, traffic = core.counters, membership.traffic
        totals: tuple[tuple[str, str, int], ...] = (
            ("probes", "Members that were asked whether they live.", counters.probes),
            ("probes_indirect", "Probes that needed helpers.", counters.probes_indirect),
            ("probes_by_stream", "Probes that only a stream answered: datagrams get lost.", counters.probes_by_stream),
            ("probes_failed", "Probes that nobody answered.", counters.probes_failed),
            ("nacks_missed", "Helpers that said nothing at all.", counters.nacks_missed),
            ("refutations", "Suspicions of this member that it refuted.", counters.refutations),
            ("syncs", "State exchanges.", counters.syncs),
            ("syncs_equal", "State exchanges that found no difference.", counters.syncs_equal),
            ("misdirected", "Pings that were for another name.", counters.misdirected),
            ("members_refused", "Members that were one too many.", counters.members_refused),
            ("rumours_dropped", "News that were dropped for newer ones.", counters.rumours_dropped),
            ("ticks_skipped", "Ticks left out since the process stood still.", membership.ticks_skipped),
            ("datagrams_sent", "Datagrams sent.", traffic.datagrams_sent),
            ("datagrams_received", "Datagrams received.", traffic.datagrams_received),
            ("bytes_sent", "Bytes sent, by datagrams and streams.", traffic.bytes_sent),
            ("bytes_received", "Bytes received, by datagrams and streams.", traffic.bytes_received),
            ("streams_opened", "Streams opened.", traffic.streams_opened),
            ("streams_failed", "Streams that could not be opened.", traffic.streams_failed),
            ("streams_accepted", "Streams that others opened.", traffic.streams_accepted),
            ("streams_refused", "Streams of others that were one too many.", traffic.streams_refused),
        )
        for name, text, total in totals:
            yield CounterMetricFamily(f"orrery_membership_{name}", text, value=total)
        dropped = CounterMetricFamily(
            "orrery_membership_dropped", "Messages that were dropped, by why.", labels=("reason",)
        )
        for reason, total in sorted(traffic.refused.items()):
            dropped.add_metric((reason,), total)
        yield dropped
