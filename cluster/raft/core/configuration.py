"""Changes of the membership: what they are, and how they are written into the log.

The encoding is a version byte, a transition byte, a count, and per change a kind byte and the member's id in eight
bytes, big-endian. It is our own; it stands in the log and must stay readable.
"""

from dataclasses import dataclass
from enum import IntEnum


class ChangeKind(IntEnum):
    """What happens to one member."""

    ADD_VOTER = 1
    ADD_LEARNER = 2
    REMOVE = 3
    UPDATE = 4
    """Nothing that Raft cares about, such as a new address."""


class Transition(IntEnum):
    """How to get from the old membership to the new one."""

    AUTO = 0
    """One step when at most one voter changes; else a joint membership that is left by itself."""
    JOINT_IMPLICIT = 1
    """Joint, left by itself as soon as it is applied."""
    JOINT_EXPLICIT = 2
    """Joint, until an empty change is proposed."""


@dataclass(frozen=True, slots=True)
class MemberChange:
    """One member's part in a change."""

    kind: ChangeKind
    member: int


@dataclass(frozen=True, slots=True)
class ConfigurationChange:
    """A change of the membership. Without any member in it, it leaves a joint membership."""

    changes: tuple[MemberChange, ...] = ()
    transition: Transition = Transition.AUTO
