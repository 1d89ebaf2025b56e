"""All doors to the outside, handed to whoever needs them."""

from dataclasses import dataclass

from runtime.clock import Clock
from runtime.disk import Disk
from runtime.net import Net
from runtime.randomness import Randomness


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a process may use of the world. Production code takes this, or the one door that it needs."""

    clock: Clock
    random: Randomness
    disk: Disk
    net: Net
