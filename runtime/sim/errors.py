"""How a simulated run ends badly. The first four are findings; the others are misuse or the simulator's own means."""


class SimulationFailed(Exception):
    """A run that did not go through; the cause says why, the message how to see it again."""

    def __init__(self, seed: int, trace_hash: str, virtual_s: float, story: str) -> None:
        super().__init__(f"seed {seed} failed after {virtual_s:.6f} virtual seconds (trace {trace_hash}): {story}")
        self.seed = seed
        self.trace_hash = trace_hash
        self.virtual_s = virtual_s


class Deadlock(Exception):
    """Nothing is ready and no timer is set, so nothing will ever happen. The message lists who waits for what."""


class LimitReached(Exception):
    """The run took more steps or more virtual time than it was given, or time stood still for too many steps."""


class Leak(Exception):
    """Code inside the simulation reached for real time, entropy, a thread or a socket, past the doors."""


class NotSimulated(NotImplementedError):
    """An operation of the event loop that has no counterpart here: files, real sockets, processes, signals."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not simulated: use the doors of runtime, or asyncio's transports and streams")


class HostCrashed(BaseException):
    """Raised inside a host that has crashed itself, so that not one more line of it runs.

    A BaseException, since no handler of the crashed program may mistake it for something it can deal with. What runs
    nevertheless, in `finally` blocks, reaches neither disk nor network: its incarnation is fenced off.
    """


class HostDown(Exception):
    """What a task of a host that has ended gives to those who wait for it from outside."""
