"""The doors to the outside: time, randomness, disk, network, tasks; the real ones and the simulated ones."""

from runtime.clock import Clock
from runtime.disk import DirectoryInUse, Disk, File, SyncFailed
from runtime.net import Net
from runtime.randomness import Randomness
from runtime.runtime import Runtime

__all__ = ["Clock", "DirectoryInUse", "Disk", "File", "Net", "Randomness", "Runtime", "SyncFailed"]
