"""Many cores on a network of their own, for tests and measurements: public, and documented, as what helps tests is."""

from cluster.membership.core.testing.cluster import Cluster, Heard, Node, Weather
from cluster.membership.core.testing.explorer import Disagreement, Explorer, Faults

__all__ = ["Cluster", "Disagreement", "Explorer", "Faults", "Heard", "Node", "Weather"]
