"""What a leader holds back reaches everyone in order and whole, and never waits where a quorum needs it."""

import random
from dataclasses import dataclass, field
from typing import cast

from cluster.raft.core import Raft
from cluster.raft.core.tracker.inflights import Inflights
from cluster.raft.core.tracker.progress import Progress, ProgressState
from cluster.raft.core.types import Configuration, Entry, EntryKind, Message, MessageKind
from cluster.raft.driver.holding_back import BYTES_MAX, EAGER_TICKS, HeldBack
from cluster.raft.driver.transport import GroupMessage

DELAY_S = 0.005


@dataclass
class StubLeader:
    """Member 1 of three; the others stream. As much of a core as holding back looks at."""

    member_id: int = 1
    configuration: Configuration = field(default_factory=lambda: Configuration(frozenset({1, 2, 3})))
    progress: dict[int, Progress] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for member in (1, 2, 3, 4, 5):
            self.progress[member] = Progress(10, 11, Inflights(10, 1 << 20))
            self.progress[member].state = ProgressState.REPLICATE

    @property
    def core(self) -> Raft:
        return cast(Raft, self)


def append(target: int, index: int, count: int, *, commit: int = 0, term: int = 1, size: int = 1) -> Message:
    entries = tuple(Entry(index + 1 + number, term, EntryKind.COMMAND, bytes(size)) for number in range(count))
    return Message(MessageKind.APPEND, 1, target, term, index=index, log_term=term, entries=entries, commit=commit)


def test_those_that_make_a_quorum_are_sent_entries_at_once_and_the_others_wait() -> None:
    held, leader = HeldBack(DELAY_S), StubLeader()
    assert not held.hold(1, leader.core, append(3, 10, 1), 0.0)
    assert held.hold(1, leader.core, append(2, 10, 1), 0.0)
    leader.progress[2].match = 11
    assert held.hold(1, leader.core, append(3, 11, 1), 0.0), "the other one is further along now"
    leader.configuration = Configuration(frozenset({1, 2, 3, 4, 5}))
    for member in (2, 5):
        assert not HeldBack(DELAY_S).hold(1, leader.core, append(member, 11, 1), 0.0)
    for member in (3, 4):
        assert HeldBack(DELAY_S).hold(1, leader.core, append(member, 11, 1), 0.0)


def test_who_does_not_count_is_not_relied_on() -> None:
    leader = StubLeader()
    leader.progress[3].counts = False
    assert not HeldBack(DELAY_S).hold(1, leader.core, append(2, 10, 1), 0.0)
    leader.progress[3].counts = True
    leader.progress[3].state = ProgressState.PROBE
    assert not HeldBack(DELAY_S).hold(1, leader.core, append(2, 10, 1), 0.0)
    assert not HeldBack(DELAY_S).hold(1, leader.core, append(3, 10, 1), 0.0), "a probe does not wait"


def test_in_a_joint_configuration_nobody_waits_for_entries_and_learners_do_otherwise() -> None:
    leader = StubLeader()
    leader.configuration = Configuration(frozenset({1, 2}), learners=frozenset({3}))
    assert not HeldBack(DELAY_S).hold(1, leader.core, append(2, 10, 1), 0.0)
    assert HeldBack(DELAY_S).hold(1, leader.core, append(3, 10, 1), 0.0)
    leader.configuration = Configuration(frozenset({1, 2, 3}), voters_outgoing=frozenset({1, 2, 4}))
    for member in (2, 3, 4):
        assert not HeldBack(DELAY_S).hold(1, leader.core, append(member, 10, 1), 0.0)


def test_a_leader_that_is_being_removed_needs_all_the_others() -> None:
    leader = StubLeader(configuration=Configuration(frozenset({2, 3})))
    assert not HeldBack(DELAY_S).hold(1, leader.core, append(2, 10, 1), 0.0)
    assert not HeldBack(DELAY_S).hold(1, leader.core, append(3, 10, 1), 0.0)


def test_who_asks_is_told_at_once_for_a_while() -> None:
    held, leader = HeldBack(DELAY_S), StubLeader()
    for kind in (MessageKind.PROPOSE, MessageKind.READ_INDEX):
        held.heard(leader.core, Message(kind, 2, 1))
        assert not held.hold(1, leader.core, append(2, 10, 1), 0.0)
        held.ticked(EAGER_TICKS)
        assert held.hold(1, leader.core, append(2, 10, 1), 0.0)
        held.join(2, ())
    held.heard(leader.core, Message(MessageKind.APPEND_REPLY, 2, 1))
    held.heard(leader.core, Message(MessageKind.PROPOSE, 99, 1))
    assert held.hold(1, leader.core, append(2, 10, 1), 0.0)


def test_a_member_that_was_removed_meanwhile_is_told_at_once() -> None:
    leader = StubLeader()
    del leader.progress[3]
    assert not HeldBack(DELAY_S).hold(1, leader.core, append(3, 10, 0, commit=10), 0.0)


def test_commit_news_wait_for_the_next_entries_even_of_those_who_are_needed() -> None:
    held, leader = HeldBack(DELAY_S), StubLeader()
    assert held.hold(1, leader.core, append(3, 10, 0, commit=10), 1.0)
    assert held.due_s == 1.0 + DELAY_S
    entries = append(3, 10, 2, commit=9)
    batch = held.join(3, [GroupMessage(1, entries)])
    assert batch == [GroupMessage(1, append(3, 10, 2, commit=10))]
    assert held.due_s is None


def test_what_is_due_goes_out_and_the_rest_stays() -> None:
    held, leader = HeldBack(DELAY_S), StubLeader()
    held.hold(1, leader.core, append(3, 10, 0, commit=8), 1.0)
    held.hold(1, leader.core, append(2, 10, 1), 1.001)
    assert held.take_due(1.0) == {}
    assert held.take_due(1.0 + DELAY_S) == {3: [GroupMessage(1, append(3, 10, 0, commit=8))]}
    assert held.due_s == 1.001 + DELAY_S
    assert list(held.take_due(2.0)) == [2]


def test_what_does_not_fit_together_stays_in_order() -> None:
    held, leader = HeldBack(DELAY_S), StubLeader()
    assert held.hold(1, leader.core, append(2, 10, 1), 0.0)
    again = append(2, 10, 2)
    assert not held.hold(1, leader.core, again, 0.0), "sent once more, as after a loss"
    assert held.join(2, [GroupMessage(1, again)]) == [GroupMessage(1, append(2, 10, 1)), GroupMessage(1, again)]
    assert held.hold(1, leader.core, append(2, 10, 1), 0.0)
    newer = append(2, 11, 1, term=2)
    assert not held.hold(1, leader.core, newer, 0.0), "another term"
    other = Message(MessageKind.HEARTBEAT, 1, 2, 1)
    assert held.join(2, [GroupMessage(2, other)]) == [GroupMessage(1, append(2, 10, 1)), GroupMessage(2, other)]


def test_much_is_not_held_back() -> None:
    held, leader = HeldBack(DELAY_S), StubLeader()
    assert not held.hold(1, leader.core, append(2, 10, 1, size=BYTES_MAX + 1), 0.0)
    assert held.hold(1, leader.core, append(2, 10, 1, size=BYTES_MAX), 0.0)
    assert not held.hold(1, leader.core, append(2, 11, 1), 0.0)


def test_with_no_delay_nothing_is_held_back() -> None:
    assert not HeldBack(0.0).hold(1, StubLeader().core, append(2, 10, 1), 0.0)


def test_everyone_is_told_everything_whatever_is_held_back() -> None:
    for seed in range(50):
        source = random.Random(seed)
        held, leader = HeldBack(DELAY_S), StubLeader()
        last, sent = {2: 10, 3: 10}, {2: 10, 3: 10}
        commit, heard = 0, {2: 0, 3: 0}
        now_s = 0.0

        def deliver(batch: list[GroupMessage], sent: dict[int, int] = sent, heard: dict[int, int] = heard) -> None:
            for _, message in batch:
                assert message.index <= sent[message.target], "a gap"
                assert [entry.index for entry in message.entries] == [
                    *range(message.index + 1, message.index + 1 + len(message.entries))
                ]
                sent[message.target] = max(sent[message.target], message.index + len(message.entries))
                heard[message.target] = max(heard[message.target], message.commit)

        for _ in range(60):
            now_s += source.choice((0.0, 0.001, 0.007))
            target, count = source.choice((2, 3)), source.randrange(4)
            commit = max(commit, min(last.values()) - source.randrange(3))
            message = append(target, last[target], count, commit=commit)
            last[target] += count
            leader.progress[target].match = source.randint(leader.progress[target].match, last[target])
            if not held.hold(1, leader.core, message, now_s):
                deliver(held.join(target, [GroupMessage(1, message)]))
            for batch in held.take_due(now_s).values():
                deliver(batch)
        for batch in held.take_due(now_s + 1).values():
            deliver(batch)
        assert sent == last
        assert max(heard.values()) == commit
