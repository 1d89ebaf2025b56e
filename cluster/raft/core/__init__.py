"""The Raft core: messages, ticks and proposals in; a `Ready` out. No I/O."""

from cluster.raft.core.config import RaftConfig, Safeguards
from cluster.raft.core.configuration import ChangeKind, ConfigurationChange, MemberChange, Transition
from cluster.raft.core.errors import DropReason, ProposalDropped, ReadDropped
from cluster.raft.core.memory_log import MemoryLog
from cluster.raft.core.raft import Raft
from cluster.raft.core.recovering import LIFE_CLOCK_SHIFT, Witnesses

__all__ = [
    "LIFE_CLOCK_SHIFT",
    "ChangeKind",
    "ConfigurationChange",
    "DropReason",
    "MemberChange",
    "MemoryLog",
    "ProposalDropped",
    "Raft",
    "RaftConfig",
    "ReadDropped",
    "Safeguards",
    "Transition",
    "Witnesses",
]
