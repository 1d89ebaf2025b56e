"""The membership core: ticks and bytes in, bytes and events out. No I/O."""

from cluster.membership.core.config import Mechanisms, SwimConfig
from cluster.membership.core.errors import Malformed, MetadataTooLarge
from cluster.membership.core.swim import Swim
from cluster.membership.core.types import (
    Address,
    Counters,
    Datagram,
    Details,
    Event,
    EventKind,
    Member,
    Output,
    Purpose,
    Status,
    StreamCall,
)

__all__ = [
    "Address",
    "Counters",
    "Datagram",
    "Details",
    "Event",
    "EventKind",
    "Malformed",
    "Mechanisms",
    "Member",
    "MetadataTooLarge",
    "Output",
    "Purpose",
    "Status",
    "StreamCall",
    "Swim",
    "SwimConfig",
]
