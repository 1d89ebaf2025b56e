from cluster.raft.core.quorum import majority
from cluster.raft.core.read_index import ReadRounds


def contexts(rounds: ReadRounds) -> list[bytes]:
    return [read.context for read in rounds.confirmed(lambda acked: majority.committed_index({1, 2, 3}, acked))]


def test_one_round_confirms_all_reads_before_it_and_none_after() -> None:
    rounds = ReadRounds()
    rounds.add(1, 10, b"a")
    rounds.add(2, 10, b"b")
    assert rounds.unsent
    rounds.start_round(1)
    first = rounds.round_context
    rounds.add(1, 11, b"late")
    assert contexts(rounds) == []
    rounds.acknowledge(2, first)
    assert contexts(rounds) == [b"a", b"b"]
    rounds.acknowledge(3, first)
    assert contexts(rounds) == [], "the late read needs a heartbeat that was sent after it came"
    rounds.start_round(1)
    rounds.acknowledge(3, rounds.round_context)
    assert contexts(rounds) == [b"late"]


def test_answers_that_nobody_asked_for_confirm_nothing() -> None:
    rounds = ReadRounds()
    rounds.add(1, 10, b"a")
    rounds.start_round(1)
    for context in (b"", b"x", (99).to_bytes(8, "big")):
        rounds.acknowledge(2, context)
    assert contexts(rounds) == []


def test_a_reset_forgets_who_waits_but_no_round_number() -> None:
    rounds = ReadRounds()
    rounds.add(1, 10, b"a")
    rounds.start_round(1)
    old = rounds.round_context
    rounds.reset()
    assert len(rounds) == 0
    rounds.add(1, 12, b"b")
    rounds.start_round(1)
    rounds.acknowledge(2, old)
    assert contexts(rounds) == []
