"""One seed of one scenario, played, and what it came to."""

import shlex
import subprocess
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.telemetry.report import VERSION
from orrery.checkers.history import Json
from orrery.checkers.verdict import Verdict
from orrery.sim.histories import Histories
from orrery.sim.scenarios import setting
from orrery.sim.setting import Contradiction
from runtime.sim import Event, Leak, LimitReached, Outcome, SimulationFailed, World

GIT_S_MAX = 10.0
ANOMALIES_TOLD = 3
"""Of a verdict; `orrery check` on the history tells all."""


@dataclass(frozen=True, slots=True)
class Play:
    """What a seed came to. Equal for equal seeds and equal code, except for `traceback`, which names files."""

    scenario: str
    without: str
    """The safeguard that was off, or empty."""
    outcome: Outcome
    """Of a run that failed: up to its end."""
    verdict: str
    """yes: it went through, and all judges are content. no: it did not. unknown: it used up its limits or reached past
    the doors, or a judge could not decide, so that nothing is known of what the seed means."""
    failure: str = ""
    """What went wrong, in words; empty when nothing did."""
    checker: str = ""
    """Who found it out: the model of a judged history (`kv`, `watch`, `lock`), or what the scenario looks at itself
    (`convergence`, `liveness`). Empty when nothing failed, and when the run ended by an error that no judge looks
    for."""
    story: str = ""
    """The last events before a failure, a line each."""
    traceback: str = ""
    log: tuple[Event, ...] = ()
    """Every event and message, when it was recorded."""
    histories: tuple[Path, ...] = ()
    """Where the histories stand, when they were to be kept."""

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
            told |= {"failure": self.failure, "checker": self.checker, "commit": commit(), "replay": self.replay}
        if self.histories:
            told["histories"] = [str(path) for path in self.histories]
        return told


def play(
    scenario: str, seed: int, *, without: str = "", record: bool = False, histories_dir: Path | None = None
) -> Play:
    """Plays a seed to its end, whatever that is, and judges its histories. Takes about a second.

    Raises nothing that the run does; OSError when histories cannot be written into `histories_dir`.
    """
    chosen = setting(scenario)
    world = World(seed, options=chosen.options, limits=chosen.limits, record=record)
    histories = Histories(lambda: int(world.virtual_s * 1e9))
    failed: BaseException | None = None
    with chosen.lacking(without):
        try:
            outcome = world.play(lambda world: chosen.scenario(world, histories))
        except SimulationFailed as error:
            failed = _innermost(error.__cause__ or error)
            outcome = world.outcome()
    # Before they are judged: a judge that dies must not take the evidence with it.
    stem = f"{scenario}-{seed}" + (f"-without-{without}" if without else "")
    paths = tuple(histories.write(histories_dir, stem)) if histories_dir is not None else ()
    # A history speaks of what clients got. That weighs more than how the run ended, which may be but a consequence.
    verdicts = [] if isinstance(failed, Leak) else list(histories.judge())
    wrong = next((verdict for verdict in verdicts if verdict.answer == "no"), None)
    unsure = next((verdict for verdict in verdicts if verdict.answer == "unknown"), None)
    played = Play(scenario, without, outcome, "yes", log=tuple(world.trace.log or ()), histories=paths)
    if wrong is not None or (failed is None and unsure is not None):
        verdict = wrong or unsure
        assert verdict is not None
        return replace(
            played,
            verdict=verdict.answer,
            failure=_told(verdict) + ("" if failed is None else f"\nThe run ended by {_in_words(failed)}"),
            checker=verdict.model,
            story=world.trace.story(),
        )
    if failed is None:
        return played
    return replace(
        played,
        verdict="unknown" if isinstance(failed, Leak | LimitReached) else "no",
        failure=_in_words(failed),
        checker=failed.checker if isinstance(failed, Contradiction) else "",
        story=world.trace.story(),
        traceback="".join(traceback.format_exception(failed)),
    )


def _told(verdict: Verdict) -> str:
    lines = [f"{verdict.model}: {verdict.summary}", *(f"{each.name}: {each.text}" for each in verdict.anomalies)]
    return "\n".join(lines[: 1 + ANOMALIES_TOLD])


def _in_words(error: BaseException) -> str:
    return "\n".join((f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())))


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
