"""What membership says of a node, as a health.

Membership decides only over nodes that it has known: the owner marks their check by MEMBER_NOTES when it sees the
member for the first time. A node that somebody registered by hand has no such mark, and keeps what it says. So a
marked node that membership does not know any more died while nobody of this process looked, and long ago: members that
failed are remembered for a while, and told to whoever joins.
"""

from typing import Protocol

from cluster.membership.core import Status
from cluster.membership.driver import MemberView, Watch
from services.registry.checks.verdict import Verdict
from services.registry.domain import NODE_CHECK_ID, CheckDefinition, CheckKind, Health

MEMBER_NOTES = "Decided by the cluster's membership."
ALIVE_OUTPUT = "Agent alive and reachable"
"""What Consul says, word for word: people look for it."""


class Members(Protocol):
    """What is asked of `cluster.membership.driver.Membership`."""

    @property
    def joined(self) -> bool:
        """Whether it has found others, or has nobody to look for."""
        ...

    def members(self) -> list[MemberView]:
        """All that count as members at present."""
        ...

    def member(self, name: str) -> MemberView | None:
        """What is believed of a name; also of one that failed or left not long ago."""
        ...

    def watch(self) -> Watch:
        """Changes from now on, behind the members that are there."""
        ...


def node_check(deregister_after_ms: int) -> CheckDefinition:
    """The check of a node that membership knows."""
    return CheckDefinition(
        id=NODE_CHECK_ID,
        name="Serf Health Status",
        kind=CheckKind.NODE,
        notes=MEMBER_NOTES,
        deregister_critical_after_ms=deregister_after_ms,
    )


def is_member_check(definition: CheckDefinition) -> bool:
    """Whether membership decides over this check."""
    return definition.kind is CheckKind.NODE and definition.notes == MEMBER_NOTES


def judge_node(status: Status | None, joined_for_s: float, unknown_after_s: float) -> Verdict | None:
    """What a marked node is, by what membership believes of it (None: it does not know the name). None: no opinion.

    A suspicion is none: the member may refute it. Names are given up as unknown only by a process that has been with
    the others for `unknown_after_s`, for one that has just started knows nobody.
    """
    if status is Status.ALIVE or status is Status.SUSPECT:
        return Verdict(Health.PASSING, ALIVE_OUTPUT)
    if status is Status.FAILED:
        return Verdict(Health.CRITICAL, "Agent not live or unreachable")
    if status is Status.LEFT:
        return Verdict(Health.CRITICAL, "Agent has left the cluster", by_itself=True)
    if joined_for_s < unknown_after_s:
        return None
    return Verdict(Health.CRITICAL, "Agent is not a member of the cluster any more")
