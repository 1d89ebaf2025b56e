"""The simulated doors: the same promises as the real ones, kept as badly as they allow, from a seed."""

from runtime.sim.disk import PowerLost, SimDisk
from runtime.sim.randomness import SeededRandomness

__all__ = ["PowerLost", "SeededRandomness", "SimDisk"]
