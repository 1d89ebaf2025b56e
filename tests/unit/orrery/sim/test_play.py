import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orrery.checkers.history import read_history
from orrery.checkers.judge import judge
from orrery.checkers.verdict import Limits as CheckerLimits
from orrery.sim import play as module
from orrery.sim.histories import Histories
from orrery.sim.play import commit, play
from orrery.sim.setting import Contradiction, Scenario, Setting
from runtime.sim import Limits, World

Stage = Callable[[Scenario], None]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Makes a scenario the one that every name means."""

    @contextlib.contextmanager
    def lacking(without: str) -> Iterator[None]:
        yield

    def put(scenario: Scenario) -> None:
        setting = Setting(scenario, limits=Limits(virtual_s_max=60), safeguards=("brakes",), lacking=lacking)
        monkeypatch.setattr(module, "setting", lambda _: setting)

    return put


async def passes(world: World, histories: Histories) -> None:
    world.host("a").tell("hello")
    await asyncio.sleep(1)


async def fails(world: World, histories: Histories) -> None:
    await passes(world, histories)
    async with asyncio.TaskGroup() as group:
        group.create_task(_lie())


async def _lie() -> None:
    raise AssertionError("two and two\nis five")


async def lasts(world: World, histories: Histories) -> None:
    await asyncio.sleep(100)


async def leaks(world: World, histories: Histories) -> None:
    time.time()


async def contradicts(world: World, histories: Histories) -> None:
    raise Contradiction("convergence", "members hold different things")


async def reads(histories: Histories, value: int) -> None:
    """Writes 1, and reads something."""
    recorder = histories.record("registers", "register")
    invocation = recorder.invoke(0, "write", "a", 1)
    await asyncio.sleep(1)
    recorder.ok(invocation, 1)
    recorder.ok(recorder.invoke(0, "read", "a"), value)


async def reads_right(world: World, histories: Histories) -> None:
    histories.record("silence", "lock")
    await reads(histories, 1)


async def reads_wrong(world: World, histories: Histories) -> None:
    await reads(histories, 2)


async def reads_wrong_and_fails(world: World, histories: Histories) -> None:
    await reads(histories, 2)
    await contradicts(world, histories)


def test_what_goes_through_is_yes(stage: Stage) -> None:
    stage(passes)
    played = play("kv", 7)
    assert played.passed
    assert played.as_json() == {
        "seed": 7,
        "scenario": "kv",
        "verdict": "yes",
        "trace_hash": played.outcome.trace_hash,
        "virtual_s": 1.0,
        "steps": played.outcome.steps,
        "connections": 0,
        "messages": 0,
        "bytes": 0,
        "syncs": 0,
    }
    assert played.log == ()


def test_recording_changes_nothing_and_logs_what_happened(stage: Stage) -> None:
    stage(passes)
    recorded = play("kv", 7, record=True)
    assert recorded.outcome.trace_hash == play("kv", 7).outcome.trace_hash
    assert [event.what for event in recorded.log] == ["hello"]


def test_what_raises_is_no_and_says_how_to_see_it_again(stage: Stage) -> None:
    stage(fails)
    played = play("kv", 7, without="brakes")
    assert not played.passed
    told = played.as_json()
    assert told["verdict"] == "no"
    assert told["without"] == "brakes"
    assert told["virtual_s"] == 1.0
    assert told["failure"] == "AssertionError: two and two\nis five"
    assert told["replay"] == "orrery sim replay 7 --scenario kv --without brakes"
    assert told["commit"] == commit()
    assert "hello" in played.story
    assert "_lie" in played.traceback


@pytest.mark.parametrize(("scenario", "failure"), [(lasts, "LimitReached"), (leaks, "Leak")])
def test_what_tells_nothing_of_the_seed_is_unknown_and_fails(stage: Stage, scenario: Scenario, failure: str) -> None:
    stage(scenario)
    played = play("kv", 7)
    assert played.verdict == "unknown"
    assert not played.passed
    assert played.failure.startswith(f"{failure}: ")


def test_a_judge_of_a_history_is_named(stage: Stage) -> None:
    stage(reads_right)
    assert play("kv", 7).passed
    stage(reads_wrong)
    played = play("kv", 7)
    assert (played.verdict, played.checker) == ("no", "register")
    assert played.failure.startswith("register: not linearizable in 1 of 1 parts")
    assert played.as_json()["checker"] == "register"
    assert played.outcome.virtual_s == 1.0


def test_what_the_scenario_looks_at_itself_is_named_and_weighs_less(stage: Stage) -> None:
    stage(contradicts)
    assert (play("kv", 7).verdict, play("kv", 7).checker) == ("no", "convergence")
    stage(reads_wrong_and_fails)
    played = play("kv", 7)
    assert played.checker == "register"
    assert played.failure.endswith("The run ended by Contradiction: members hold different things")


def test_histories_are_kept_and_give_the_same_verdict(stage: Stage, tmp_path: Path) -> None:
    stage(reads_wrong_and_fails)
    played = play("kv", 7, without="brakes", histories_dir=tmp_path / "new")
    assert [path.name for path in played.histories] == ["kv-7-without-brakes.registers.jsonl"]
    assert played.as_json()["histories"] == [str(tmp_path / "new" / "kv-7-without-brakes.registers.jsonl")]
    assert judge("register", read_history(played.histories[0])).answer == "no"
    with pytest.raises(FileExistsError):
        play("kv", 7, without="brakes", histories_dir=tmp_path / "new")


def test_a_judge_that_cannot_decide_fails_the_run(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def race(world: World, histories: Histories) -> None:
        recorder = histories.record("registers", "register")
        invoked = [recorder.invoke(process, "write", "a", process) for process in range(3)]
        for invocation in invoked:
            recorder.ok(invocation)
        recorder.ok(recorder.invoke(0, "read", "a"), 1)

    monkeypatch.setattr(Histories, "judge", functools.partialmethod(Histories.judge, limits=CheckerLimits(steps_max=0)))
    stage(race)
    played = play("kv", 7)
    assert (played.verdict, played.checker) == ("unknown", "register")


def test_the_code_has_a_name() -> None:
    name = commit().removesuffix("-dirty")
    assert name.startswith("version ") or (len(name) == 40 and set(name) <= set("0123456789abcdef"))
