"""What scenarios and explorer do not show: the edges of the public face."""

import pytest

from cluster.raft.core import (
    ChangeKind,
    ConfigurationChange,
    DropReason,
    MemberChange,
    MemoryLog,
    ProposalDropped,
    Raft,
    RaftConfig,
    ReadDropped,
)
from cluster.raft.core.testing import Network
from cluster.raft.core.tracker.progress import ProgressState
from cluster.raft.core.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    Role,
    SnapshotMeta,
)

THREE = Configuration(frozenset({1, 2, 3}))


def lowest(low: int, high: int) -> int:
    return low


def raft(**settings: int) -> Raft:
    config = RaftConfig(1, **settings)  # type: ignore[arg-type]
    return Raft(config, MemoryLog(SnapshotMeta(0, 0, THREE)), HardState(), THREE, 0, lowest)


def elected(**settings: int) -> Network:
    configs = [RaftConfig(member, **settings) for member in (1, 2, 3)]  # type: ignore[arg-type]
    network = Network(configs, THREE, lowest)
    network.members[1].raft.campaign()
    network.settle()
    assert network.members[1].raft.role is Role.LEADER
    return network


def test_readys_are_persisted_in_order() -> None:
    one = raft(election_ticks=2)
    for _ in range(2):
        one.tick()
    first, second = one.ready(), one.ready()
    with pytest.raises(ValueError, match="the next one is 1"):
        one.persisted(second)
    one.persisted(first)
    one.persisted(second)
    with pytest.raises(ValueError, match="None"):
        one.persisted(second)


def test_a_quiet_member_has_no_ready() -> None:
    assert not raft().has_ready()
    network = elected()
    assert not any(member.raft.has_ready() for member in network.members.values())


def test_a_turns_proposals_share_one_append_per_follower() -> None:
    network = elected()
    leader = network.members[1].raft
    for number in range(5):
        leader.propose([b"%d" % number, b"x"])
    ready = leader.ready()
    appends = [message for message in ready.messages if message.kind is MessageKind.APPEND]
    assert [(message.target, len(message.entries)) for message in appends] == [(2, 10), (3, 10)]


def test_a_turns_reads_share_one_round_of_heartbeats() -> None:
    network = elected()
    leader = network.members[1].raft
    for number in range(5):
        leader.read_index(b"%d" % number)
    ready = leader.ready()
    assert [message.kind for message in ready.messages] == [MessageKind.HEARTBEAT] * 2


def test_without_a_leader_everything_is_refused_definitely() -> None:
    one = raft()
    with pytest.raises(ProposalDropped) as proposal:
        one.propose([b"a"])
    assert proposal.value.reason is DropReason.NO_LEADER
    with pytest.raises(ReadDropped):
        one.read_index(b"r")
    with pytest.raises(ProposalDropped) as change:
        one.propose_configuration(ConfigurationChange())
    assert change.value.reason is DropReason.NOT_LEADER


def test_too_many_reads_are_refused() -> None:
    leader = elected(pending_reads_max=2).members[1].raft
    leader.read_index(b"1")
    leader.read_index(b"2")
    with pytest.raises(ReadDropped):
        leader.read_index(b"3")


def test_one_change_of_the_membership_at_a_time() -> None:
    network = elected()
    leader = network.members[1].raft
    change = ConfigurationChange((MemberChange(ChangeKind.ADD_LEARNER, 4),))
    leader.propose_configuration(change)
    with pytest.raises(ProposalDropped) as refused:
        leader.propose_configuration(change)
    assert refused.value.reason is DropReason.CONFIGURATION_PENDING
    network.settle()
    assert all(member.raft.configuration.learners == {4} for member in network.members.values())


def test_answers_of_strangers_and_of_the_impossible_are_ignored() -> None:
    network = elected()
    leader = network.members[1].raft
    before = leader.describe()
    leader.step(Message(MessageKind.APPEND_REPLY, 9, 1, leader.term, index=1))
    leader.step(Message(MessageKind.HEARTBEAT_REPLY, 9, 1, leader.term, context=b"12345678"))
    leader.step(Message(MessageKind.APPEND_REPLY, 2, 1, leader.term, index=1 << 60))
    assert leader.describe() == before
    assert not leader.has_ready()


def test_a_garbled_change_leaves_the_membership_as_it_is() -> None:
    assert raft().apply_configuration(Entry(1, 1, EntryKind.CONFIGURATION, b"??")) == THREE


def test_an_unreachable_member_is_probed() -> None:
    network = elected()
    leader = network.members[1].raft
    leader.report_unreachable(2)
    assert leader.progress[2].state is ProgressState.PROBE
    leader.propose([b"a"])
    network.settle()
    assert leader.progress[2].describe() == "replicate match=2 next=3"


def test_a_log_that_lost_committed_entries_does_not_start() -> None:
    with pytest.raises(ValueError, match="lost"):
        Raft(RaftConfig(1), MemoryLog(), HardState(1, 0, 5), THREE, 0, lowest)


@pytest.mark.parametrize(
    ("field", "value"),
    [("election_ticks", 1), ("heartbeat_ticks", 0), ("inflight_messages_max", 0), ("inflight_bytes_max", 10)],
)
def test_settings_that_make_no_sense_are_named(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field):
        RaftConfig(1, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="member_id"):
        RaftConfig(0)
