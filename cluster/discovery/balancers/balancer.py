"""What balancers choose among, and what they are asked."""

from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar


class Target:
    """An endpoint as balancers see it. Whoever makes calls keeps `in_flight`; balancers only read."""

    __slots__ = ("address", "in_flight", "is_usable", "weight")

    def __init__(self, address: str, weight: int = 1) -> None:
        self.address = address
        self.weight = weight
        """At least 1."""
        self.in_flight = 0
        """Calls that run there now, from here."""
        self.is_usable = True
        """Whether it is among the usable ones of the latest `update`."""

    def __repr__(self) -> str:
        return f"<Target {self.address} weight {self.weight}, {self.in_flight} in flight>"


TargetT = TypeVar("TargetT", bound=Target)


class Balancer(Protocol[TargetT]):
    """Chooses targets. Told anew whenever the targets, their weights, or the usable ones among them change."""

    @property
    def keeps_keys(self) -> bool:
        """Whether it looks at keys."""
        ...

    def update(self, targets: Sequence[TargetT], usable: Sequence[TargetT]) -> None:
        """`targets` are all there are, in an order that stays; `usable` those that may be picked, in the same order.

        Their `is_usable` says the same.
        """
        ...

    def pick(self, key: bytes | None, tried: Collection[TargetT], in_flight: int) -> TargetT | None:
        """The target of a call: a usable one that is not among `tried`, or None when there is none.

        `key` says which calls belong together, to those balancers that keep them together. `in_flight` are the calls
        that run on all targets.
        """
        ...
