"""The simulated doors: the same promises as the real ones, kept as badly as they allow, from a seed."""

from runtime.sim.disk import PowerLost, SimDisk
from runtime.sim.errors import (
    Deadlock,
    HostCrashed,
    HostDown,
    Leak,
    LimitReached,
    NotSimulated,
    SimulationFailed,
)
from runtime.sim.host import SimHost
from runtime.sim.loop import SimLoop
from runtime.sim.net import SimNet
from runtime.sim.randomness import SeededRandomness
from runtime.sim.scheduler import Schedule
from runtime.sim.swarm import SwarmOptions
from runtime.sim.trace import Event
from runtime.sim.world import Limits, Outcome, Scenario, World, run

__all__ = [
    "Deadlock",
    "Event",
    "HostCrashed",
    "HostDown",
    "Leak",
    "LimitReached",
    "Limits",
    "NotSimulated",
    "Outcome",
    "PowerLost",
    "Scenario",
    "Schedule",
    "SeededRandomness",
    "SimDisk",
    "SimHost",
    "SimLoop",
    "SimNet",
    "SimulationFailed",
    "SwarmOptions",
    "World",
    "run",
]
