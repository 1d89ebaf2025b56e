"""Fakes and judges for whoever builds on the core: members on fake disks, a network that misbehaves, safety checks."""

from cluster.raft.core.testing.checker import Checker, Violation
from cluster.raft.core.testing.explorer import Explorer, Faults
from cluster.raft.core.testing.member import Member
from cluster.raft.core.testing.network import Network

__all__ = ["Checker", "Explorer", "Faults", "Member", "Network", "Violation"]
