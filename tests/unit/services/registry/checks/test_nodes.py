from cluster.membership.core import Status
from services.registry.checks.nodes import is_member_check, judge_node, node_check
from services.registry.checks.verdict import Verdict
from services.registry.domain import CheckDefinition, CheckKind, Health


def verdict(status: Status | None, joined_for_s: float = 1e9) -> Verdict | None:
    return judge_node(status, joined_for_s, 60.0)


def test_a_suspicion_is_no_verdict() -> None:
    for status in (Status.ALIVE, Status.SUSPECT):
        found = verdict(status)
        assert found is not None
        assert found.health is Health.PASSING


def test_who_failed_or_left_is_critical() -> None:
    for status, by_itself in ((Status.FAILED, False), (Status.LEFT, True)):
        found = verdict(status)
        assert found is not None
        assert found.health is Health.CRITICAL
        assert found.by_itself is by_itself


def test_who_is_unknown_is_given_up_only_by_one_who_has_been_there_for_a_while() -> None:
    assert verdict(None, 59.0) is None
    found = verdict(None, 60.0)
    assert found is not None
    assert found.health is Health.CRITICAL


def test_membership_decides_over_its_own_checks_only() -> None:
    assert is_member_check(node_check(0))
    assert not is_member_check(CheckDefinition(id="serfHealth", name="by hand", kind=CheckKind.NODE))
    assert not is_member_check(CheckDefinition(id="x", name="x", kind=CheckKind.TTL, notes=node_check(0).notes))
