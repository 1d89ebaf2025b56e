"""Which turns to critical of this process's checks are believed: the accounts of `preservation`, and whom they are of.

Nodes have an account of their own, over all nodes and not only over those whose check is this process's: every process
sees all deaths, and one that sees most of the others dead is more likely to be cut off itself. Checks of instances are
counted over what this process owns; that is an even sample of all.
"""

from services.registry.checks.metrics import CheckCounters
from services.registry.checks.preservation import Account, Allowance

READY_MAX = 1000
"""Held ones that are let go in one turn of the loop."""


class Preserving:
    """Both accounts, and how many are well. Times are seconds of the loop's clock."""

    def __init__(self, checks: Allowance, nodes: Allowance, counters: CheckCounters) -> None:
        self._counters = counters
        self._checks = Account(checks)
        self._nodes = Account(nodes)
        self._judged: dict[str, bool] = {}
        """This process's checks of instances, and whether each is critical as far as it is kept."""
        self._judged_critical = 0
        self._members: dict[str, bool] = {}
        """The same of all nodes of members."""
        self._own_members: dict[str, None] = {}

    @property
    def held_back(self) -> int:
        """This process's turns to critical that are not believed now."""
        return self._checks.held + len(self._held_own_nodes())

    def see_check(self, key: str, *, critical: bool) -> None:
        """A check of this process is kept as this."""
        if critical:
            self._checks.settled(key)
        before = self._judged.get(key, False)
        self._judged[key] = critical
        self._judged_critical += critical - before

    def see_node(self, key: str, *, critical: bool, own: bool) -> None:
        """The check of a member's node is kept as this, whoever owns it."""
        if critical:
            self._nodes.settled(key)
        self._members[key] = critical
        if own:
            self._own_members[key] = None
        else:
            self._own_members.pop(key, None)

    def forget_check(self, key: str) -> None:
        """It is gone, or another process's."""
        if key in self._judged:
            self._judged_critical -= self._judged.pop(key)
        self._checks.recovered(key)

    def forget_node(self, key: str) -> None:
        """The node is gone, or no member's any more."""
        self._members.pop(key, None)
        self._own_members.pop(key, None)
        self._nodes.recovered(key)

    def recovered(self, key: str) -> None:
        """It does not fail now."""
        self._checks.recovered(key)
        self._nodes.recovered(key)

    def may_turn(self, key: str, now_s: float) -> bool:
        """Whether a failing check may be said to be critical now; if not, it is held back."""
        if key in self._members:
            well = len(self._members) - sum(self._members.values())
            return self._ask(self._nodes, key, well, now_s)
        return self._ask(self._checks, key, len(self._judged) - self._judged_critical, now_s)

    def ready(self, now_s: float) -> list[str]:
        """Held ones of this process that may turn now, or soon: they are to be looked at."""
        if not self._checks.held and not self._nodes.held:
            return []
        well = len(self._members) - sum(self._members.values())
        nodes = self._nodes.ready(well, now_s, READY_MAX)
        checks = self._checks.ready(len(self._judged) - self._judged_critical, now_s, READY_MAX)
        return [*(key for key in nodes if key in self._own_members), *checks]

    def _ask(self, account: Account, key: str, well: int, now_s: float) -> bool:
        held_before = account.is_held(key)
        believed = account.may_turn(key, well, now_s)
        if not believed and not held_before and (account is self._checks or key in self._own_members):
            self._counters.held_back += 1
        return believed

    def _held_own_nodes(self) -> list[str]:
        return [key for key in self._nodes.held_keys() if key in self._own_members]
