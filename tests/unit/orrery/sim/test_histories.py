from pathlib import Path

import pytest

from orrery.checkers.history import read_history
from orrery.checkers.judge import judge
from orrery.sim.histories import Histories


def write_and_read(histories: Histories, value: int) -> None:
    recorder = histories.record("registers", "register", "cas-register")
    recorder.ok(recorder.invoke(0, "write", "a", 1), 1)
    recorder.ok(recorder.invoke(0, "read", "a"), value)


def test_each_model_judges_and_files_say_the_same(tmp_path: Path) -> None:
    histories = Histories(lambda: 17)
    histories.record("silence", "lock")
    write_and_read(histories, 2)
    assert [(verdict.model, verdict.answer) for verdict in histories.judge()] == [
        ("register", "no"),
        ("cas-register", "no"),
    ]
    (path,) = histories.write(tmp_path / "deep" / "down", "kv-7")
    assert path.name == "kv-7.registers.jsonl"
    assert judge("register", read_history(path)).answer == "no"
    assert '"time":17' in path.read_text()


def test_evidence_is_never_written_over(tmp_path: Path) -> None:
    histories = Histories(lambda: 0)
    write_and_read(histories, 1)
    histories.write(tmp_path, "kv-7")
    with pytest.raises(FileExistsError):
        histories.write(tmp_path, "kv-7")


def test_nothing_answered_is_nothing_to_judge() -> None:
    histories = Histories(lambda: 0)
    recorder = histories.record("locks", "lock")
    recorder.fail(recorder.invoke(0, "acquire", "l"))
    recorder = histories.record("registers", "register")
    recorder.info(recorder.invoke(0, "write", "a", 1))
    histories.record("silence", "watch")
    assert list(histories.judge()) == []


def test_a_subject_has_one_history_and_a_note_stands_in_all() -> None:
    histories = Histories(lambda: 0)
    histories.record("a", "register")
    histories.record("b", "lock")
    with pytest.raises(ValueError, match="a history a already"):
        histories.record("a", "lock")
    histories.nemesis("kill kv-1")
    assert [len(subject.lines) for subject in histories.subjects.values()] == [1, 1]
    assert histories.subjects["a"].history().operations == ()
