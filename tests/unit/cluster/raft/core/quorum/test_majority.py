from cluster.raft.core.quorum import majority
from cluster.raft.core.quorum.votes import VoteResult


def test_nobody_agrees_with_everything() -> None:
    assert majority.committed_index(frozenset(), {}) == majority.INDEX_UNBOUNDED
    assert majority.vote_result(frozenset(), {}) is VoteResult.WON


def test_who_is_missing_holds_nothing() -> None:
    assert majority.committed_index({1, 2, 3}, {1: 9}) == 0
    assert majority.committed_index({1, 2, 3}, {1: 9, 3: 4}) == 4
    assert majority.committed_index({1, 2, 3, 4}, {1: 9, 3: 4, 4: 8}) == 4


def test_votes_of_strangers_do_not_count() -> None:
    assert majority.vote_result({1, 2, 3}, {7: True, 8: True, 1: True}) is VoteResult.PENDING


def test_describe_draws_a_bar_per_voter() -> None:
    assert majority.describe({1, 2, 3}, {1: 10, 2: 20}).split("\n") == [
        "       idx",
        "x>      10    (id=1)",
        "xx>     20    (id=2)",
        "?        0    (id=3)",
    ]
