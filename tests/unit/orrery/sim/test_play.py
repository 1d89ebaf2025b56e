import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from orrery.sim import play as module
from orrery.sim.play import commit, play
from orrery.sim.setting import Setting
from runtime.sim import Limits, Scenario, World

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


async def passes(world: World) -> None:
    world.host("a").tell("hello")
    await asyncio.sleep(1)


async def fails(world: World) -> None:
    await passes(world)
    async with asyncio.TaskGroup() as group:
        group.create_task(_lie())


async def _lie() -> None:
    raise AssertionError("two and two\nis five")


async def lasts(world: World) -> None:
    await asyncio.sleep(100)


async def leaks(world: World) -> None:
    time.time()


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


def test_the_code_has_a_name() -> None:
    name = commit().removesuffix("-dirty")
    assert name.startswith("version ") or (len(name) == 40 and set(name) <= set("0123456789abcdef"))
