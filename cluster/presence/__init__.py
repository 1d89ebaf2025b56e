"""How a process of the cluster makes itself known to the others, the same for every service."""

from cluster.presence.config import RegistrationSection
from cluster.presence.identity import Identity
from cluster.presence.presence import Presence

__all__ = ["Identity", "Presence", "RegistrationSection"]
