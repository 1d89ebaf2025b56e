"""Runs a member of the cluster on the process's doors: clock, randomness, network, the event loop's timers."""

from cluster.membership.driver.membership import Membership, NameTaken
from cluster.membership.driver.metrics import MembershipMetrics
from cluster.membership.driver.options import MembershipOptions
from cluster.membership.driver.watching import Change, ChangeKind, MemberView, Watch

__all__ = [
    "Change",
    "ChangeKind",
    "MemberView",
    "Membership",
    "MembershipMetrics",
    "MembershipOptions",
    "NameTaken",
    "Watch",
]
