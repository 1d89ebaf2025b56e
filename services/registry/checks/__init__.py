"""Checks: who looks after which, how it is asked, and when what it says counts."""

from services.registry.checks.checks import Checks
from services.registry.checks.judging import Damping, cut_output, initial_state, observe
from services.registry.checks.metrics import CheckCounters, CheckMetrics
from services.registry.checks.nodes import Members
from services.registry.checks.options import CheckOptions
from services.registry.checks.preservation import Allowance

__all__ = [
    "Allowance",
    "CheckCounters",
    "CheckMetrics",
    "CheckOptions",
    "Checks",
    "Damping",
    "Members",
    "cut_output",
    "initial_state",
    "observe",
]
