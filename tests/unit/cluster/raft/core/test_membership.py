"""Changes of the membership against etcd-io/raft's data-driven cases."""

import os
from pathlib import Path

import pytest

from cluster.raft.core import membership
from cluster.raft.core.configuration import ChangeKind, ConfigurationChange, MemberChange, Transition
from cluster.raft.core.testing.datadriven import Case, parse
from cluster.raft.core.tracker.tracker import describe_configuration, members
from cluster.raft.core.types import Configuration

REPOSITORY = Path(__file__).resolve().parents[5]
PEERS = Path(os.environ.get("ORRERY_PEERS", str(REPOSITORY.parent / "shared" / "peers")))
CASES = PEERS / "etcd-raft" / "confchange" / "testdata"
FILES = (
    "joint_autoleave.txt",
    "joint_idempotency.txt",
    "joint_learners_next.txt",
    "joint_safety.txt",
    "simple_idempotency.txt",
    "simple_promote_demote.txt",
    "simple_safety.txt",
    "update.txt",
    "zero.txt",
)
KINDS = {
    "v": ChangeKind.ADD_VOTER,
    "l": ChangeKind.ADD_LEARNER,
    "r": ChangeKind.REMOVE,
    "u": ChangeKind.UPDATE,
}


class Changer:
    """Keeps what etcd's harness prints: the configuration, and in which command each member's progress began."""

    def __init__(self) -> None:
        self.configuration = Configuration()
        self.begun: dict[int, int] = {}
        self.count = -1

    def run(self, case: Case) -> str:
        self.count += 1
        changes = [MemberChange(KINDS[token[0]], int(token[1:])) for token in case.input.split()]
        try:
            if case.command == "simple":
                after = membership.simple(self.configuration, changes)
            elif case.command == "enter-joint":
                auto_leave = case.arguments.get("autoleave") == ("true",)
                after = membership.enter_joint(self.configuration, changes, auto_leave=auto_leave)
            else:
                assert case.command == "leave-joint"
                after = membership.leave_joint(self.configuration)
        except membership.ChangeRefused as error:
            return str(error)
        self.configuration = after
        self.begun = {member: self.begun.get(member, max(self.count, 1)) for member in sorted(members(after))}
        lines = [describe_configuration(after).replace("  ", " ")]
        for member, begun in self.begun.items():
            learner = " learner" if member in after.learners else ""
            lines.append(f"{member}: StateProbe match=0 next={begun}{learner}")
        return "\n".join(lines)


@pytest.mark.skipif(not CASES.is_dir(), reason="etcd-io/raft's confchange cases are not on this machine (ORRERY_PEERS)")
@pytest.mark.parametrize("name", FILES)
def test_etcd_cases(name: str) -> None:
    changer = Changer()
    cases = list(parse((CASES / name).read_text(encoding="utf-8")))
    assert cases
    for case in cases:
        assert changer.run(case) == case.expected, f"{name}:{case.line}"


ONE = Configuration(frozenset({1}))


def change(transition: Transition, *tokens: str) -> ConfigurationChange:
    return ConfigurationChange(tuple(MemberChange(KINDS[t[0]], int(t[1:])) for t in tokens), transition)


def test_auto_takes_one_step_where_majorities_overlap_and_two_where_not() -> None:
    assert membership.apply(ONE, change(Transition.AUTO, "v2", "l3")) == Configuration(
        voters=frozenset({1, 2}), learners=frozenset({3})
    )
    joint = membership.apply(ONE, change(Transition.AUTO, "v2", "v3"))
    assert joint.voters_outgoing == {1}
    assert joint.auto_leave
    assert not membership.apply(ONE, change(Transition.JOINT_EXPLICIT, "v2")).auto_leave


def test_the_empty_change_leaves_a_joint_membership_and_nothing_else() -> None:
    joint = membership.apply(ONE, change(Transition.JOINT_IMPLICIT, "v2", "v3", "l1"))
    assert membership.apply(joint, ConfigurationChange()) == Configuration(
        voters=frozenset({2, 3}), learners=frozenset({1})
    )
    with pytest.raises(membership.ChangeRefused):
        membership.apply(ONE, ConfigurationChange())


def test_a_joint_membership_takes_no_second_change() -> None:
    joint = membership.apply(ONE, change(Transition.JOINT_EXPLICIT, "v2", "v3"))
    for tokens in (("v4",), ("v4", "v5")):
        with pytest.raises(membership.ChangeRefused):
            membership.apply(joint, change(Transition.AUTO, *tokens))
