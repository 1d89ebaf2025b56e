"""The replicated state machine that services use."""

from cluster.replica.host import ReplicaHost
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
from cluster.replica.replica import Replica

__all__ = [
    "Leadership",
    "LocalReplica",
    "NoLeader",
    "Overloaded",
    "ProposalTimeout",
    "ReadTimeout",
    "Replica",
    "ReplicaError",
    "ReplicaHost",
    "ReplicaStopped",
    "Replicated",
    "StateMachine",
    "Status",
]
