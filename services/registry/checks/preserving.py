"""Which turns to critical of this process's checks are believed: the accounts of `preservation`, and whom they are of.

Nodes have an account of their own, over all nodes and not only over those whose check is this process's: every process
sees all deaths, and one that sees most of the others dead is more likely to be cut off itself. Checks of instances are
counted over what this process owns; that is an even sample of all.
"""

from services.registry.checks.metrics import CheckCounters
from services.registry.checks.preservation import Account, Allowance

READY_MAX = 1000
"""Held ones that are let go in one turn of the loop."""


class _Population:
    """An account, and how many it is about are well. A turn that was believed counts before it is kept."""

    def __init__(self, allowance: Allowance) -> None:
        self.account = Account(allowance)
        self._kept: dict[str, bool] = {}
        """Whether each is critical as far as it is kept."""
        self._failing: dict[str, None] = {}
        """Those that are, or were believed to be."""

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    @property
    def well(self) -> int:
        return len(self._kept) - len(self._failing)

    def see(self, key: str, *, critical: bool) -> None:
        self._kept[key] = critical
        if critical:
            self.account.settled(key)
        self._count(key)

    def forget(self, key: str) -> None:
        self._kept.pop(key, None)
        self._failing.pop(key, None)
        self.account.recovered(key)

    def recovered(self, key: str) -> None:
        self.account.recovered(key)
        self._count(key)

    def may_turn(self, key: str, now_s: float) -> bool:
        believed = self.account.may_turn(key, self.well, now_s)
        self._count(key)
        return believed

    def ready(self, now_s: float) -> list[str]:
        return self.account.ready(self.well, now_s, READY_MAX) if self.account.held else []

    def _count(self, key: str) -> None:
        if self._kept.get(key, False) or (key in self._kept and self.account.is_believed(key)):
            self._failing[key] = None
        else:
            self._failing.pop(key, None)


class Preserving:
    """Both accounts. Times are seconds of the loop's clock. All calls are O(1), but for those that list."""

    def __init__(self, checks: Allowance, nodes: Allowance, counters: CheckCounters) -> None:
        self._counters = counters
        self._checks = _Population(checks)
        """This process's checks of instances."""
        self._nodes = _Population(nodes)
        """The checks of all nodes of members."""
        self._own_nodes: dict[str, None] = {}

    @property
    def held_back(self) -> int:
        """This process's turns to critical that are not believed now."""
        nodes = sum(key in self._own_nodes for key in self._nodes.account.held_keys())
        return self._checks.account.held + nodes

    def see_check(self, key: str, *, critical: bool) -> None:
        """A check of this process is kept as this."""
        self._checks.see(key, critical=critical)

    def see_node(self, key: str, *, critical: bool, own: bool) -> None:
        """The check of a member's node is kept as this, whoever owns it."""
        self._nodes.see(key, critical=critical)
        if own:
            self._own_nodes[key] = None
        else:
            self._own_nodes.pop(key, None)

    def forget_check(self, key: str) -> None:
        """It is gone, or another process's."""
        self._checks.forget(key)

    def forget_node(self, key: str) -> None:
        """The node is gone, or no member's any more."""
        self._nodes.forget(key)
        self._own_nodes.pop(key, None)

    def recovered(self, key: str) -> None:
        """It does not fail now."""
        (self._nodes if key in self._nodes else self._checks).recovered(key)

    def may_turn(self, key: str, now_s: float) -> bool:
        """Whether a failing check may be said to be critical now; if not, it is held back."""
        population = self._nodes if key in self._nodes else self._checks
        held_before = population.account.is_held(key)
        believed = population.may_turn(key, now_s)
        if not believed and not held_before and (population is self._checks or key in self._own_nodes):
            self._counters.held_back += 1
        return believed

    def ready(self, now_s: float) -> list[str]:
        """Held ones of this process that may turn now, or soon: they are to be looked at."""
        nodes = [key for key in self._nodes.ready(now_s) if key in self._own_nodes]
        return [*nodes, *self._checks.ready(now_s)]
