"""The quorum against etcd-io/raft's data-driven cases, and against a definition that is too slow to be wrong."""

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.raft.core.quorum import joint, majority
from cluster.raft.core.quorum.votes import VoteResult
from cluster.raft.core.testing.datadriven import Case, parse

REPOSITORY = Path(__file__).resolve().parents[6]
PEERS = Path(os.environ.get("ORRERY_PEERS", str(REPOSITORY.parent / "shared" / "peers")))
CASES = PEERS / "etcd-raft" / "quorum" / "testdata"
FILES = ("majority_commit.txt", "joint_commit.txt", "majority_vote.txt", "joint_vote.txt")
NAMES = {VoteResult.WON: "VoteWon", VoteResult.LOST: "VoteLost", VoteResult.PENDING: "VotePending"}


def ids(case: Case, key: str) -> list[int]:
    return [int(value) for value in case.arguments.get(key, ()) if value != "zero"]


def answers(case: Case, key: str) -> dict[int, str]:
    everyone = list(dict.fromkeys(ids(case, "cfg") + ids(case, "cfgj")))
    given_answers = case.arguments.get(key, ())
    assert len(given_answers) == len(everyone), f"line {case.line}: {given_answers} for {everyone}"
    return {member: value for member, value in zip(everyone, given_answers, strict=True) if value != "_"}


def committed(case: Case) -> str:
    voters, outgoing = ids(case, "cfg"), ids(case, "cfgj")
    indexes = {member: int(value) for member, value in answers(case, "idx").items()}
    index = joint.committed_index(voters, outgoing, indexes)
    assert joint.committed_index(outgoing, voters, indexes) == index
    if "cfgj" in case.arguments:
        drawing = joint.describe(voters, outgoing, indexes)
    else:
        assert majority.committed_index(voters, indexes) == index
        assert joint.committed_index(voters, voters, indexes) == index
        drawing = majority.describe(voters, indexes)
    text = "∞" if index == majority.INDEX_UNBOUNDED else str(index)
    return f"{drawing}{'' if not voters and not outgoing else chr(10)}{text}"


def vote(case: Case) -> str:
    voters, outgoing = ids(case, "cfg"), ids(case, "cfgj")
    votes = {member: value == "y" for member, value in answers(case, "votes").items()}
    result = joint.vote_result(voters, outgoing, votes)
    assert joint.vote_result(outgoing, voters, votes) is result
    return NAMES[result]


@pytest.mark.skipif(not CASES.is_dir(), reason="etcd-io/raft's quorum cases are not on this machine (ORRERY_PEERS)")
@pytest.mark.parametrize("name", FILES)
def test_etcd_cases(name: str) -> None:
    commands = {"committed": committed, "vote": vote}
    cases = list(parse((CASES / name).read_text(encoding="utf-8")))
    assert len(cases) >= 10
    for case in cases:
        assert commands[case.command](case) == case.expected, f"{name}:{case.line}"


voters_sets = st.frozensets(st.integers(1, 7), max_size=5)


@given(voters_sets, voters_sets, st.dictionaries(st.integers(1, 7), st.integers(0, 4)))
def test_committed_index_is_the_highest_that_both_majorities_hold(
    voters: frozenset[int], outgoing: frozenset[int], acknowledged: dict[int, int]
) -> None:
    def holds(half: frozenset[int], index: int) -> bool:
        return not half or sum(acknowledged.get(member, 0) >= index for member in half) > len(half) // 2

    index = joint.committed_index(voters, outgoing, acknowledged)
    if not voters and not outgoing:
        assert index == majority.INDEX_UNBOUNDED
        return
    assert holds(voters, index)
    assert holds(outgoing, index)
    assert not (holds(voters, index + 1) and holds(outgoing, index + 1))


@given(voters_sets, voters_sets, st.dictionaries(st.integers(1, 7), st.booleans()))
def test_a_ballot_is_decided_exactly_when_the_missing_votes_cannot_change_it(
    voters: frozenset[int], outgoing: frozenset[int], votes: dict[int, bool]
) -> None:
    def wins(final: dict[int, bool]) -> bool:
        halves = [half for half in (voters, outgoing) if half]
        return all(sum(final[member] for member in half) > len(half) // 2 for half in halves)

    everyone = sorted(voters | outgoing)
    missing = [member for member in everyone if member not in votes]
    outcomes = {
        wins({**votes, **dict(zip(missing, choice, strict=True))})
        for choice in itertools.product((True, False), repeat=len(missing))
    }
    result = joint.vote_result(voters, outgoing, votes)
    if outcomes == {True}:
        assert result is VoteResult.WON
    elif outcomes == {False}:
        # A joint ballot may be lost only by the sum of its halves; then it stays open until one half is lost.
        assert result is VoteResult.LOST or (voters and outgoing and result is VoteResult.PENDING)
    else:
        assert result is VoteResult.PENDING
