"""Many cores on a network of their own, for tests and measurements: public, and documented, as what helps tests is."""

from cluster.membership.core.testing.cluster import Cluster, Heard, Node, Weather

__all__ = ["Cluster", "Heard", "Node", "Weather"]
