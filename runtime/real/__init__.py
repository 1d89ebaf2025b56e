"""The real doors: the only code of the house that touches the host's clock, entropy, files and threads."""

from runtime.real.clock import SystemClock
from runtime.real.disk import RealDisk
from runtime.real.net import StreamNet
from runtime.real.randomness import SystemRandomness
from runtime.real.runtime import real_runtime

__all__ = ["RealDisk", "StreamNet", "SystemClock", "SystemRandomness", "real_runtime"]
