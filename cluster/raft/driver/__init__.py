"""The driver of Raft groups: owns disk, network and clock, and runs many cores in one process."""

from cluster.raft.driver.errors import HostStopped, ReplicaCorrupted
from cluster.raft.driver.group import Group, GroupMachine
from cluster.raft.driver.host import HostCounters, RaftHost
from cluster.raft.driver.memory_network import InMemoryNetwork, InMemoryTransport
from cluster.raft.driver.options import HostOptions
from cluster.raft.driver.transport import (
    GroupMessage,
    PeerCounters,
    PeerTransport,
    Receiver,
    SnapshotChunk,
    SnapshotReader,
    SnapshotReceipt,
)

__all__ = [
    "Group",
    "GroupMachine",
    "GroupMessage",
    "HostCounters",
    "HostOptions",
    "HostStopped",
    "InMemoryNetwork",
    "InMemoryTransport",
    "PeerCounters",
    "PeerTransport",
    "RaftHost",
    "Receiver",
    "ReplicaCorrupted",
    "SnapshotChunk",
    "SnapshotReader",
    "SnapshotReceipt",
]
