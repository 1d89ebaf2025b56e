"""The replicated state machine that services use."""

from cluster.replica.interface import (
    Leadership,
    NoLeader,
    Overloaded,
    ProposalTimeout,
    ReadTimeout,
    ReplicaError,
    ReplicaStopped,
    Replicated,
    StateMachine,
    Status,
)
from cluster.replica.local import LocalReplica

__all__ = [
    "Leadership",
    "LocalReplica",
    "NoLeader",
    "Overloaded",
    "ProposalTimeout",
    "ReadTimeout",
    "ReplicaError",
    "ReplicaStopped",
    "Replicated",
    "StateMachine",
    "Status",
]
