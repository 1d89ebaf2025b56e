"""What a script of etcdctl commands may say, and the check that it says it well.

`script.toml` is data: one step is one command line as a person would type it, and whatever must be true before the
next one. Field by field:
"""

from pathlib import Path

import msgspec

SCRIPT = Path(__file__).parent / "script.toml"
COMMANDS_MIN = 60
"""Fewer compared commands than this would no longer show what the suite promises."""


class Repeated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Standard input that is too long to be written out."""

    line: str
    """Written `times` times, with `{i}` replaced by the number of the line from 0 on."""
    times: int
    head: str = ""
    tail: str = ""

    def text(self) -> str:
        """The whole of it."""
        return self.head + "".join(self.line.replace("{i}", str(i)) for i in range(self.times)) + self.tail


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of the script. Exactly one of `run`, `start`, `finish`, `wait` and `shows` says what it does."""

    name: str
    """What the step shows; unique, since reports speak of steps by name."""
    run: str = ""
    """An etcdctl command line in shell quoting; what it prints and its exit code are compared."""
    start: str = ""
    """Like `run`, but left running under the name `job` until a `finish` step names it."""
    job: str = ""
    finish: str = ""
    """The job whose whole output is compared now, after it was ended (or has ended by itself)."""
    wait: str = ""
    """A command that is repeated until its standard output matches `until`; not compared."""
    shows: str = ""
    """A job whose output must match `until` before the next step; not compared."""
    until: str = ""
    """A regular expression. With `wait` and `shows`: see there. With `start`: the step is over when the job's output
    matches it. With `finish`: the job is ended when its output matches it."""
    watches: int = 0
    """With `start`: the step is over when the server has confirmed so many watches."""
    signal: str = "KILL"
    """How `finish` ends the job: KILL (the client gets no say, so that nothing races), INT, or NONE: it ends itself."""
    stdin: str = ""
    stdin_repeat: Repeated | None = None
    capture: dict[str, str] = {}
    """Names for ids that the server makes up: a name and a regular expression whose group `hex` or `decimal` finds
    the id in the output. `{name}` in a later command stands for the id; every output shows the id as `<name>`."""
    mask: list[str] = []
    """Names from `masks.OPTIONAL`: what else cannot be equal in this step, and nowhere else."""
    order: str = ""
    """How output whose order follows from random ids is put in order: `lines`, `blocks` or `members`."""

    @property
    def compared(self) -> bool:
        """Whether the step yields an output that is compared."""
        return bool(self.run or self.finish)


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole script."""

    step: list[Step]


def load(path: Path = SCRIPT) -> list[Step]:
    """Reads a script. Raises `ValueError` naming the step that contradicts itself."""
    steps = msgspec.toml.decode(path.read_bytes(), type=Script).step
    names: set[str] = set()
    running: set[str] = set()
    for step in steps:
        if step.name in names:
            raise ValueError(f"two steps are called {step.name!r}")
        names.add(step.name)
        if sum(map(bool, (step.run, step.start, step.finish, step.wait, step.shows))) != 1:
            raise ValueError(f"{step.name!r}: exactly one of run, start, finish, wait and shows")
        if step.start:
            if not step.job or step.job in running or not (step.watches or step.until):
                raise ValueError(f"{step.name!r}: start needs a new job and a condition (watches or until)")
            running.add(step.job)
        if step.finish:
            if step.finish not in running:
                raise ValueError(f"{step.name!r}: no job {step.finish!r} is running")
            running.remove(step.finish)
        if step.shows and step.shows not in running:
            raise ValueError(f"{step.name!r}: no job {step.shows!r} is running")
        if (step.wait or step.shows) and not step.until:
            raise ValueError(f"{step.name!r}: wait and shows need until")
    if running:
        raise ValueError(f"never finished: {sorted(running)}")
    return steps
