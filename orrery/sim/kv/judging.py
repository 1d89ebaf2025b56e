"""Judges what the clients saw."""

from orrery.sim.kv.cluster import KvCluster
from orrery.sim.kv.revisions import check_revisions
from orrery.sim.kv.workload import Workload


def judge(cluster: KvCluster, workload: Workload) -> None:
    """Raises what contradicts a correct store."""
    answered = check_revisions(workload.history)
    cluster.world.host("asker").tell(f"{answered} of {len(workload.history)} operations were answered and judged")
