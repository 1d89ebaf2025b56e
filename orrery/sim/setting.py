"""What `orrery sim` needs to know of a scenario."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

from orrery.sim.histories import Histories
from runtime.sim import Limits, SwarmOptions, World

Scenario: TypeAlias = Callable[[World, Histories], Awaitable[None]]
"""Plays in a world, and records what clients see. It judges what it looks at itself; histories are judged after it."""


class Contradiction(AssertionError):
    """What a correct cluster cannot do. `checker` names who found it out."""

    def __init__(self, checker: str, text: str) -> None:
        super().__init__(text)
        self.checker = checker


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
