"""Many cores on a network of their own, for tests and measurements: public, and documented, as what helps tests is."""

from cluster.membership.core.testing.cluster import Cluster, Heard, Node, Weather
from cluster.membership.core.testing.explorer import Disagreement, Explorer, Faults
from cluster.membership.core.testing.single import STRANGER, Sent, Single, address_of, alive

__all__ = [
    "STRANGER",
    "Cluster",
    "Disagreement",
    "Explorer",
    "Faults",
    "Heard",
    "Node",
    "Sent",
    "Single",
    "Weather",
    "address_of",
    "alive",
]
