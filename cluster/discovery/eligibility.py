"""Which endpoints may be picked: by health, by ejection, by whether they can be reached. Pure.

In this order:
1. Those that are not unhealthy, not ejected, and have a weight. When they are fewer than the panic threshold's share of
   all, health is not believed any more, and all of them count: when most seem to be down, the fault is likely with
   whoever looks, and the few that are left would be overrun (Envoy's "Panic threshold").
2. Of those, the ones that are connected. A balancer that keeps keys together also takes those that have never been
   tried: their calls wait for the connection instead of moving.
3. When none is connected and some may soon be, calls wait for that.
4. When none can be reached, those that were left out in 1 and are connected: a bad one is better than none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from cluster.discovery.balancers.balancer import Target
from cluster.discovery.endpoint import Endpoint, EndpointHealth
from cluster.discovery.outliers import Record


class Reach(Enum):
    """What is known of the connection."""

    NEW = "new"
    """Never tried to the end."""
    READY = "ready"
    LOST = "lost"
    """It was ready; whether it can be made again is not known yet."""
    FAILED = "failed"
    """The latest attempt failed; there will be more."""


class Standing(Target):
    """A target with all that decides whether it may be picked."""

    __slots__ = ("endpoint", "reach", "record")

    def __init__(self, endpoint: Endpoint, record: Record) -> None:
        super().__init__(endpoint.address, max(1, endpoint.weight))
        self.endpoint = endpoint
        self.record = record
        self.reach = Reach.NEW


StandingT = TypeVar("StandingT", bound=Standing)


@dataclass(frozen=True, slots=True)
class Choice(Generic[StandingT]):
    """Who may be picked."""

    usable: list[StandingT]
    is_pending: bool
    """Nobody yet, but a connection is being made: wait."""
    is_panicking: bool
    """Health and ejection are not looked at."""


def choose(targets: Sequence[StandingT], *, panic_share: float, keeps_keys: bool) -> Choice[StandingT]:
    """Who may be picked, in the order of `targets`, with their `is_usable` set. O(n).

    `panic_share`: the share of targets, 0 to 1, below which panic begins.
    """
    weighted = [target for target in targets if target.endpoint.weight > 0] or list(targets)
    pool = [
        target
        for target in weighted
        if target.endpoint.health is not EndpointHealth.UNHEALTHY and target.record.ejected_until_s is None
    ]
    is_panicking = len(pool) < panic_share * len(weighted)
    if is_panicking:
        pool = weighted
    usable = [target for target in pool if target.reach is Reach.READY]
    is_pending = False
    if usable and keeps_keys:
        usable = [target for target in pool if target.reach in (Reach.READY, Reach.NEW)]
    elif not usable:
        is_pending = any(target.reach in (Reach.NEW, Reach.LOST) for target in pool)
        if not is_pending:
            usable = [target for target in targets if target.reach is Reach.READY]
    for target in targets:
        target.is_usable = False
    for target in usable:
        target.is_usable = True
    return Choice(usable, is_pending, is_panicking)
