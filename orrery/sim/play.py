"""One seed of one scenario, played, and what it came to."""

import shlex
import subprocess
import traceback
from dataclasses import dataclass
from pathlib import Path

from cluster.telemetry.report import VERSION
from orrery.checkers.history import Json
from orrery.sim.scenarios import setting
from runtime.sim import Event, Leak, LimitReached, Outcome, SimulationFailed, World

GIT_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Play:
    """What a seed came to. Equal for equal seeds and equal code, except for `traceback`, which names files."""

    scenario: str
    without: str
    """The safeguard that was off, or empty."""
    outcome: Outcome
    """Of a run that failed: up to its end."""
    verdict: str
    """yes: it went through, and the scenario's judges are content. no: it did not. unknown: it used up its limits or
    reached past the doors, so that nothing is known of what the seed means."""
    failure: str = ""
    """What went wrong, in words; empty when nothing did."""
    story: str = ""
    """The last events before a failure, a line each."""
    traceback: str = ""
    log: tuple[Event, ...] = ()
    """Every event and message, when it was recorded."""

    @property
    def passed(self) -> bool:
        """Whether the verdict is yes. Unknown is a failure."""
        return self.verdict == "yes"

    @property
    def replay(self) -> str:
        """The command that plays this seed again, and shows all of it."""
        command = ["orrery", "sim", "replay", str(self.outcome.seed), "--scenario", self.scenario]
        return shlex.join([*command, "--without", self.without] if self.without else command)

    def as_json(self) -> dict[str, Json]:
        """What `--json` prints."""
        outcome = self.outcome
        told: dict[str, Json] = {
            "seed": outcome.seed,
            "scenario": self.scenario,
            "verdict": self.verdict,
            "trace_hash": outcome.trace_hash,
            "virtual_s": outcome.virtual_s,
            "steps": outcome.steps,
            "connections": outcome.connections,
            "messages": outcome.messages,
            "bytes": outcome.bytes,
            "syncs": outcome.syncs,
        }
        if self.without:
            told["without"] = self.without
        if not self.passed:
            told |= {"failure": self.failure, "commit": commit(), "replay": self.replay}
        return told


def play(scenario: str, seed: int, *, without: str = "", record: bool = False) -> Play:
    """Plays a seed to its end, whatever that is. Takes about a second; raises nothing that the run does."""
    chosen = setting(scenario)
    world = World(seed, options=chosen.options, limits=chosen.limits, record=record)
    failed: BaseException | None = None
    with chosen.lacking(without):
        try:
            outcome = world.play(chosen.scenario)
        except SimulationFailed as error:
            failed = _innermost(error.__cause__ or error)
            outcome = world.outcome()
    log = tuple(world.trace.log or ())
    if failed is None:
        return Play(scenario, without, outcome, "yes", log=log)
    return Play(
        scenario,
        without,
        outcome,
        "unknown" if isinstance(failed, Leak | LimitReached) else "no",
        failure="\n".join((f"{type(failed).__name__}: {failed}", *getattr(failed, "__notes__", ()))),
        story=world.trace.story(),
        traceback="".join(traceback.format_exception(failed)),
        log=log,
    )


def _innermost(error: BaseException) -> BaseException:
    """What a task group wraps says more than the group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def commit() -> str:
    """Which code this is: the commit if it is a checkout, with `-dirty` behind it if it was changed; else the version.

    A seed means nothing without it.
    """
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_S_MAX)
        except (OSError, subprocess.SubprocessError):
            # No git here, or a checkout that it does not trust.
            return f"version {VERSION}"
        return done.stdout.strip()
    return f"version {VERSION}"
