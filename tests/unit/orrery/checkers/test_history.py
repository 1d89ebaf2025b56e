import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.checkers.history import (
    NEVER,
    History,
    HistoryLimits,
    HistoryUnreadable,
    Recorder,
    canonical,
    pair,
    parse,
    read_history,
    recording,
)


def history(*lines: str, limits: HistoryLimits | None = None) -> History:
    return pair(parse((line.encode() + b"\n" for line in lines), limits))


def test_an_invocation_is_joined_with_its_completion() -> None:
    [write, read] = history(
        '{"process": 0, "type": "invoke", "f": "write", "key": "a", "value": 1, "time": 5, "index": 0}',
        '{"process": 1, "type": "invoke", "f": "read", "key": "a", "time": 6, "index": 1}',
        "",
        '{"process": 0, "type": "ok", "f": "write", "key": "a", "value": 1, "time": 9, "index": 2}',
        '{"process": 1, "type": "ok", "f": "read", "value": 1, "time": 12, "index": 7}',
    ).operations
    assert (write.number, write.invoked, write.completed, write.invoked_ns, write.completed_ns) == (0, 1, 4, 5, 9)
    assert (read.outcome, read.input, read.output, read.key, read.lines) == ("ok", None, 1, "a", "lines 2-5")
    assert not write.precedes(read)


def test_an_info_and_a_missing_completion_stay_open_for_ever() -> None:
    info, missing = history(
        '{"process": 0, "type": "invoke", "f": "write", "value": 1}',
        '{"process": 0, "type": "info", "f": "write", "value": 1, "error": "timed out"}',
        '{"process": 0, "type": "invoke", "f": "write", "value": 2}',
    ).operations
    assert (info.outcome, info.completed) == (missing.outcome, missing.completed) == ("info", NEVER)
    assert not info.precedes(missing)
    assert missing.lines == "line 3, no answer"


def test_lines_of_the_nemesis_are_passed_over() -> None:
    assert len(history('{"process": "nemesis", "type": "info", "f": "cut", "value": ["a", "b"]}')) == 0


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        (["{"], 1, "not JSON"),
        (["[1]"], 1, "not a JSON object"),
        (
            ['{"process": 0, "type": "invoke", "f": "r"}', '{"process": 0, "type": "invoke", "f": "r"}'],
            2,
            "line 1 open",
        ),
        (['{"process": 0, "type": "ok", "f": "r"}'], 1, "nothing open"),
        (['{"process": 0, "type": "invoke", "f": "r"}', '{"process": 0, "type": "ok", "f": "w"}'], 2, "completes r"),
        (['{"process": 0, "type": "done", "f": "r"}'], 1, "type must be"),
        (['{"process": null, "type": "invoke", "f": "r"}'], 1, "process must be"),
        (['{"process": true, "type": "invoke", "f": "r"}'], 1, "process must be"),
        (['{"process": 0, "type": "invoke", "f": ""}'], 1, "f must be"),
        (['{"process": 0, "type": "invoke", "f": "r", "key": [1]}'], 1, "key must be"),
        (['{"process": 0, "type": "invoke", "f": "r", "time": 0.5}'], 1, "nanoseconds"),
        (['{"process": 0, "type": "invoke", "f": "r", "valeu": 1}'], 1, "unknown field 'valeu'"),
        (
            [
                '{"process": 0, "type": "invoke", "f": "r", "index": 3}',
                '{"process": 0, "type": "ok", "f": "r", "index": 3}',
            ],
            2,
            "index",
        ),
        (['{"process": 0, "type": "invoke", "f": "r", "value": ' + "[" * 13 + "]" * 13 + "}"], 1, "nested"),
        (['{"process": 0, "type": "invoke", "f": "r", "value": ' + "[" * 100_000 + "}"], 1, "not JSON"),
    ],
)
def test_what_cannot_be_read_names_its_line(lines: list[str], where: int, what: str) -> None:
    with pytest.raises(HistoryUnreadable, match=what) as caught:
        history(*lines)
    assert caught.value.line == where


def test_limits_hold() -> None:
    line = '{"process": "nemesis", "type": "info", "f": "x"}'
    with pytest.raises(HistoryUnreadable, match="longer than 10 bytes"):
        history(line, limits=HistoryLimits(line_bytes_max=10))
    with pytest.raises(HistoryUnreadable, match="line 3: the history is larger"):
        history(*[line] * 3, limits=HistoryLimits(file_bytes_max=2 * len(line) + 2))
    with pytest.raises(HistoryUnreadable, match="line 2: more than 1 events"):
        history(line, line, limits=HistoryLimits(events_max=1))


def test_a_long_line_is_not_read_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_bytes(b"x" * 5_000_000)
    with pytest.raises(HistoryUnreadable, match="longer than"):
        read_history(file)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3), lambda part: st.lists(part, max_size=3)
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "process": st.integers(0, 2) | json_values,
        "type": st.sampled_from(["invoke", "ok", "fail", "info"]) | json_values,
        "f": st.sampled_from(["read", "write"]) | json_values,
        "key": json_values,
        "value": json_values,
        "time": json_values,
        "index": json_values,
    },
)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40) | fields.map(lambda line: json.dumps(line).encode()), max_size=8))
def test_any_bytes_are_read_or_refused(lines: list[bytes]) -> None:
    refused_at, found = 1, 0
    try:
        found = len(pair(parse(lines)))
    except HistoryUnreadable as error:
        refused_at = error.line
    assert 1 <= refused_at <= max(1, len(lines))
    assert found <= len(lines)


def test_a_recording_is_on_disk_line_by_line_and_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    times = iter(range(100, 1000, 100))
    with recording(file, lambda: next(times)) as recorder:
        write = recorder.invoke(0, "write", "a", {"x": [1]})
        assert file.read_bytes().count(b"\n") == 1
        read = recorder.invoke(1, "read", "a")
        recorder.nemesis("cut", ["n1", "n2"])
        recorder.ok(write)
        recorder.fail(read, error="refused")
        recorder.info(recorder.invoke(1, "write", "a", 2))
        assert file.read_bytes().count(b"\n") == 7
    first, second, third = read_history(file).operations
    assert (first.outcome, first.input, first.invoked_ns, first.completed_ns) == ("ok", {"x": [1]}, 100, 400)
    assert (second.outcome, third.outcome) == ("fail", "info")
    with pytest.raises(FileExistsError), recording(file, lambda: 0):
        pass


def test_a_recorder_refuses_what_could_not_be_read_back() -> None:
    recorder = Recorder(lambda line: None, lambda: 0)
    call = recorder.invoke(0, "read")
    with pytest.raises(ValueError, match="operation open"):
        recorder.invoke(0, "read")
    recorder.ok(call)
    with pytest.raises(ValueError, match="nothing open"):
        recorder.ok(call)


def test_values_that_python_takes_for_equal_are_told_apart() -> None:
    assert len({canonical(1), canonical(True), canonical(1.0), canonical("1")}) == 4
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1})
