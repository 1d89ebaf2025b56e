"""Two majorities that must both agree (Raft thesis, section 4.3)."""

from collections.abc import Collection, Mapping

from cluster.raft.core.quorum import majority
from cluster.raft.core.quorum.votes import VoteResult


def committed_index(voters: Collection[int], outgoing: Collection[int], acknowledged: Mapping[int, int]) -> int:
    """The highest index that both halves committed."""
    incoming_index = majority.committed_index(voters, acknowledged)
    if not outgoing:
        return incoming_index
    return min(incoming_index, majority.committed_index(outgoing, acknowledged))


def vote_result(voters: Collection[int], outgoing: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """Won when both halves are won; lost as soon as one is lost."""
    first = majority.vote_result(voters, votes)
    if not outgoing:
        return first
    second = majority.vote_result(outgoing, votes)
    if first is second:
        return first
    if VoteResult.LOST in (first, second):
        return VoteResult.LOST
    return VoteResult.PENDING


def describe(voters: Collection[int], outgoing: Collection[int], acknowledged: Mapping[int, int]) -> str:
    """Draws all voters of both halves together."""
    return majority.describe({*voters, *outgoing}, acknowledged)
