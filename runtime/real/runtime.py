"""All real doors at once."""

from runtime.real.clock import SystemClock
from runtime.real.disk import RealDisk
from runtime.real.net import StreamNet
from runtime.real.randomness import SystemRandomness
from runtime.runtime import Runtime


def real_runtime(data_dir: str) -> Runtime:
    """The doors of a production process whose disk is rooted at `data_dir`, which is made when it is missing.

    Raises OSError when the directory cannot be made or written.
    """
    return Runtime(clock=SystemClock(), random=SystemRandomness(), disk=RealDisk(data_dir), net=StreamNet())
