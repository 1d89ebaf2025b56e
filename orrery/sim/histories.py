"""What the clients of a run saw: a history for each subject, in Jepsen's shape, written before it is judged.

A history is a file `<scenario>-<seed>.<subject>.jsonl`, and `orrery check --model MODEL` on it says what the run's own
judge of that model said.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orrery.checkers.history import History, Recorder, pair, parse
from orrery.checkers.judge import judge
from orrery.checkers.verdict import Limits, Verdict

LIMITS = Limits(steps_max=2_000_000, seconds_max=60.0, shrink_seconds_max=2.0)
"""Of each judge of each run. A workload is made so that they suffice; unknown fails the run."""


@dataclass(slots=True)
class Subject:
    """A history in the making, and the models that judge it."""

    name: str
    models: tuple[str, ...]
    recorder: Recorder
    lines: list[bytes] = field(default_factory=list)

    def history(self) -> History:
        """What is there now."""
        return pair(parse(self.lines), self.name)


class Histories:
    """The histories of one run. `now_ns` tells its virtual time."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self.subjects: dict[str, Subject] = {}

    def record(self, name: str, *models: str) -> Recorder:
        """A recorder for a new subject, which these models will judge. Raises ValueError when there is one already."""
        if name in self.subjects:
            raise ValueError(f"there is a history {name} already")
        lines: list[bytes] = []
        recorder = Recorder(lines.append, self._now_ns)
        self.subjects[name] = Subject(name, models, recorder, lines)
        return recorder

    def nemesis(self, what: str) -> None:
        """Notes in every history what is broken or healed."""
        for subject in self.subjects.values():
            subject.recorder.nemesis(what)

    def write(self, directory: Path, stem: str) -> list[Path]:
        """Writes every history that has lines to a new file. Raises FileExistsError: evidence is never written over."""
        directory.mkdir(parents=True, exist_ok=True)
        paths = []
        for subject in self.subjects.values():
            if not subject.lines:
                # Nobody did anything of the kind in this run; a judge of the file could only say unknown.
                continue
            path = directory / f"{stem}.{subject.name}.jsonl"
            with path.open("xb") as file:
                file.writelines(subject.lines)
            paths.append(path)
        return paths

    def judge(self, limits: Limits = LIMITS) -> Iterator[Verdict]:
        """The verdicts of all judges. What nobody was answered about is passed over: there is nothing to judge."""
        for subject in self.subjects.values():
            history = subject.history()
            for model in subject.models:
                verdict = judge(model, history, limits)
                if verdict.operations and (verdict.answer != "unknown" or _answered(history)):
                    yield verdict


def _answered(history: History) -> bool:
    return any(operation.outcome == "ok" for operation in history.operations)
