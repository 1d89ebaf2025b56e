"""How a process of the cluster makes itself known to the others, the same for every service."""

from cluster.presence.presence import Identity, Presence

__all__ = ["Identity", "Presence"]
