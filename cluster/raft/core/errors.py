"""What the core refuses. Every refusal here is definite: it did not happen and never will."""

from enum import Enum


class DropReason(Enum):
    """Why a proposal or a read was not taken."""

    NO_LEADER = "no leader is known"
    NOT_LEADER = "only the leader takes this"
    TRANSFERRING = "leadership is being handed over"
    UNCOMMITTED_LIMIT = "too many bytes are proposed and not yet applied"
    CONFIGURATION_PENDING = "an earlier change of the membership is not applied yet"
    CONFIGURATION_INVALID = "the change of the membership is not valid now"
    NOT_A_MEMBER = "this node is not a member of the group"
    READ_LIMIT = "too many reads await confirmation"


class ProposalDropped(Exception):
    """The commands were not appended anywhere and not forwarded: proposing them again is safe."""

    def __init__(self, reason: DropReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason


class InvariantBroken(Exception):
    """Raft's own guarantees do not hold here: a disk lost what it had synced, or somebody broke the protocol.

    The member must stop: whatever it says from now on may be wrong.
    """


class ReadDropped(Exception):
    """The read was not started. Reads have no effect, so asking again is safe."""

    def __init__(self, reason: DropReason) -> None:
        super().__init__(reason.value)
        self.reason = reason
