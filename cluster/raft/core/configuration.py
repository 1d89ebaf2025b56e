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


_VERSION = 1
_HEAD_BYTES = 3
_CHANGE_BYTES = 9
CHANGES_MAX = 255
"""Members that one change may name."""


def encode(change: ConfigurationChange) -> bytes:
    """The entry's data. Raises ValueError for too many changes or an id beyond 64 bits."""
    if len(change.changes) > CHANGES_MAX:
        raise ValueError(f"{len(change.changes)} changes at once; {CHANGES_MAX} is the limit")
    parts = [bytes((_VERSION, change.transition, len(change.changes)))]
    for one in change.changes:
        if not 0 < one.member < 1 << 64:
            raise ValueError(f"{one.member} is no member id")
        parts.append(bytes((one.kind,)) + one.member.to_bytes(8, "big"))
    return b"".join(parts)


def decode(data: bytes) -> ConfigurationChange:
    """The reverse of `encode`. Raises ValueError for anything that it cannot have written."""
    if len(data) < _HEAD_BYTES or data[0] != _VERSION:
        raise ValueError("not a change of the membership of a known version")
    transition, count = Transition(data[1]), data[2]
    if len(data) != _HEAD_BYTES + count * _CHANGE_BYTES:
        raise ValueError(f"{count} changes do not fill {len(data)} bytes")
    changes = []
    for start in range(_HEAD_BYTES, len(data), _CHANGE_BYTES):
        member = int.from_bytes(data[start + 1 : start + _CHANGE_BYTES], "big")
        if member == 0:
            raise ValueError("0 is no member id")
        changes.append(MemberChange(ChangeKind(data[start]), member))
    return ConfigurationChange(tuple(changes), transition)
