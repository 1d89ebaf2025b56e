"""A simple majority of a set of voters, as pure functions.

An empty set of voters agrees with everything: so a joint quorum with one empty half behaves like the other half alone.
"""

from collections.abc import Collection, Mapping

from cluster.raft.core.quorum.votes import VoteResult

INDEX_UNBOUNDED = (1 << 64) - 1
"""What an empty set of voters has committed: as much as anyone likes."""


def committed_index(voters: Collection[int], acknowledged: Mapping[int, int]) -> int:
    """The highest index that a majority of `voters` acknowledged; who is missing acknowledged 0. O(n log n)."""
    if not voters:
        return INDEX_UNBOUNDED
    indexes = sorted(acknowledged.get(voter, 0) for voter in voters)
    # Ascending order: whoever stands at this place has a majority at or above it, itself counted.
    return indexes[(len(indexes) - 1) // 2]


def vote_result(voters: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """The outcome of a ballot; who is missing may still vote either way."""
    if not voters:
        return VoteResult.WON
    needed = len(voters) // 2 + 1
    granted = sum(votes.get(voter, False) for voter in voters)
    if granted >= needed:
        return VoteResult.WON
    missing = sum(voter not in votes for voter in voters)
    return VoteResult.PENDING if granted + missing >= needed else VoteResult.LOST


def describe(voters: Collection[int], acknowledged: Mapping[int, int]) -> str:
    """Draws who is how far: a bar as long as the number of voters that are behind this one; `?` for no answer."""
    if not voters:
        return "<empty majority quorum>"
    width = len(voters)
    ordered = sorted(voters, key=lambda voter: (acknowledged.get(voter, 0), voter))
    bars: dict[int, int] = {}
    for place, voter in enumerate(ordered):
        behind = ordered[place - 1] if place else None
        same = behind is not None and acknowledged.get(behind, 0) == acknowledged.get(voter, 0)
        bars[voter] = bars[behind] if same and behind is not None else place
    lines = [" " * width + "    idx"]
    for voter in sorted(voters):
        index = acknowledged.get(voter)
        bar = "?" + " " * width if index is None else "x" * bars[voter] + ">" + " " * (width - bars[voter])
        lines.append(f"{bar} {index or 0:5d}    (id={voter})")
    return "\n".join(lines)
