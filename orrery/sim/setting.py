"""What `orrery sim` needs to know of a scenario."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from runtime.sim import Limits, Scenario, SwarmOptions


@dataclass(frozen=True, slots=True)
class Setting:
    """A scenario, and how it is played."""

    scenario: Scenario
    limits: Limits
    safeguards: tuple[str, ...]
    """What `--without` may name."""
    lacking: Callable[[str], AbstractContextManager[None]]
    """While the block runs, what the scenario boots lacks the safeguard of this name; with an empty one, nothing."""
    options: SwarmOptions | None = None
    """Fixed ones; without, each seed draws its own."""
