"""A seed means one run: in every process, on every machine. And a leak of anything else into it is noticed."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.buggify import buggify
from runtime.failpoints import failpoint, register
from runtime.runtime import Runtime
from runtime.sim import HostCrashed, Leak, LimitReached, Limits, SimulationFailed, SwarmOptions, World, run

PROGRAM = Path(__file__).with_name("leaky_program.py")
ROOT = Path(__file__).parents[4]
SITE = register("test.sim.world")


def play(kind: str, hash_seed: int, seeds: range) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), kind, *map(str, seeds)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout.splitlines()


def test_fifty_seeds_give_equal_traces_in_two_processes() -> None:
    one, other = play("clean", 1, range(50)), play("clean", 2, range(50))
    assert one == other
    assert len({line.split()[1] for line in one}) == 50


@pytest.mark.parametrize("kind", ["task-ids", "ids", "strings", "early-clock"])
def test_a_leak_shows_as_different_traces(kind: str) -> None:
    assert play(kind, 1, range(4)) != play(kind, 2, range(4))


@pytest.mark.parametrize("kind", ["clock", "entropy"])
def test_a_leak_past_the_doors_is_an_error(kind: str) -> None:
    assert play(kind, 1, range(2)) == ["Leak", "Leak"]


def test_a_recording_shows_where_two_runs_part() -> None:
    def recorded(seed: int, extra: bool) -> list[str]:
        async def scenario(world: World) -> None:
            await asyncio.sleep(1)
            if extra:
                await asyncio.sleep(0)
            await asyncio.sleep(1)

        return run(seed, scenario, options=SwarmOptions(), record=True).recorded

    assert recorded(1, False) == recorded(1, False)
    one, other = recorded(1, False), recorded(1, True)
    parted = next(place for place, lines in enumerate(zip(one, other, strict=False)) if lines[0] != lines[1])
    assert parted > 0
    assert all("0x" not in line for line in one + other)
    assert any("step of scenario" in line for line in one)


def test_a_recording_logs_who_sent_what_to_whom_and_where_it_arrived() -> None:
    async def serve(_: Runtime) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(3))
            writer.close()

        await (await asyncio.start_server(echo, "0.0.0.0", 7)).serve_forever()

    async def ask(_: Runtime) -> None:
        reader, writer = await asyncio.open_connection("server", 7)
        writer.write(b"abc")
        assert await reader.read() == b"abc"
        writer.close()

    async def scenario(world: World) -> None:
        world.host("server").boot(serve)
        await world.host("client").boot(ask)

    def played(*, record: bool) -> World:
        world = World(1, options=SwarmOptions(), record=record)
        world.play(scenario)
        return world

    world = played(record=True)
    assert world.trace.log is not None
    messages = [event for event in world.trace.log if event.size]
    assert [(event.host, event.what, event.peer, event.size) for event in messages] == [
        ("client", "sends", "server", 3),
        ("server", "takes", "client", 3),
        ("server", "sends", "client", 3),
        ("client", "takes", "server", 3),
    ]
    asked, heard, answered, _ = messages
    assert asked.pipe == heard.pipe != answered.pipe
    assert asked.virtual_s < heard.virtual_s
    assert ("server", "boot 1") in [(event.host, event.what) for event in world.trace.log]
    plain = played(record=False)
    assert plain.trace.log is None
    assert plain.trace.hex() == world.trace.hex()


def test_streams_of_randomness_do_not_disturb_each_other() -> None:
    def network_draws(user_draws: int) -> float:
        async def scenario(world: World) -> None:
            for _ in range(user_draws):
                world.random.random()
            drawn.append(world.net.random.random())

        drawn: list[float] = []
        run(5, scenario)
        return drawn[0]

    assert network_draws(0) == network_draws(100)


def test_seeds_draw_their_worlds() -> None:
    async def nothing(world: World) -> None:
        worlds.append(world.options)

    worlds: list[SwarmOptions] = []
    for seed in range(40):
        run(seed, nothing)
    assert len(set(worlds)) > 35
    assert {options.schedule for options in worlds} == {*SwarmOptions.draw.__globals__["Schedule"]}


def test_a_failure_tells_its_seed_and_story() -> None:
    async def scenario(world: World) -> None:
        world.host("kv-1").tell("became leader")
        await asyncio.sleep(2)
        raise AssertionError("lost a write")

    with pytest.raises(SimulationFailed) as caught:
        run(77, scenario)
    text = str(caught.value)
    assert "seed 77 failed after 2.000" in text
    assert "AssertionError: lost a write" in text
    assert "kv-1         became leader" in text
    assert caught.value.seed == 77


def test_limits_of_a_run() -> None:
    async def scenario(world: World) -> None:
        await asyncio.sleep(100)

    run(1, scenario)
    with pytest.raises(SimulationFailed) as caught:
        run(1, scenario, limits=Limits(virtual_s_max=10))
    assert isinstance(caught.value.__cause__, LimitReached)


def test_a_swallowed_leak_still_fails_the_run() -> None:
    async def scenario(world: World) -> None:
        try:
            os.urandom(1)
        except Leak:
            pass

    with pytest.raises(SimulationFailed, match=r"os\.urandom was called from .*test_world\.py"):
        run(1, scenario)
    assert len(os.urandom(3)) == 3


def test_failpoints_strike_one_host_at_one_pass() -> None:
    passes: list[str] = []

    async def scenario(world: World) -> None:
        async def main(runtime: Runtime, name: str) -> None:
            for _ in range(5):
                failpoint(SITE)
                passes.append(name)
                await asyncio.sleep(1)

        world.sites.arm(world.host("a"), SITE, skip=2)
        for name in ("a", "b"):
            world.host(name).boot(lambda runtime, name=name: main(runtime, name))  # type: ignore[misc]
        await asyncio.sleep(10)
        assert not world.host("a").powered

    run(1, scenario)
    assert (passes.count("a"), passes.count("b")) == (2, 5)
    failpoint(SITE)
    assert issubclass(HostCrashed, BaseException)


def test_buggify_is_off_in_production_and_chosen_by_the_seed_here() -> None:
    fired: list[int] = []

    async def scenario(world: World) -> None:
        fired.append(sum(buggify("test.sometimes") for _ in range(1000)))
        assert world.sites.fired.get("test.sometimes", 0) == fired[-1]

    for seed in range(60):
        run(seed, scenario)
    assert sum(count > 0 for count in fired) >= 3
    assert sum(count == 0 for count in fired) >= 30
    assert max(fired) < 300
    assert not any(buggify("test.sometimes") for _ in range(1000))


def test_the_example_of_the_document_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "simulator.md").read_text()
    example = text.partition("```python\n")[2].partition("```")[0]
    exec(compile(example, "docs/simulator.md", "exec"), {"__name__": "example"})
    assert "Outcome(seed=7, trace_hash=" in capsys.readouterr().out
    assert "bytes=10" in example


def test_process_ids_are_those_of_simulated_lives() -> None:
    """Found by `orrery sim determinism`: an admin port told its process's, and its bytes are in the trace."""
    seen: list[int] = []

    async def scenario(world: World) -> None:
        async def main(_: Runtime) -> None:
            seen.append(os.getpid())

        for _ in range(2):
            await world.host("a").boot(main)
        await world.host("b").boot(main)

    here = os.getpid()
    run(1, scenario)
    first = list(seen)
    run(2, scenario)
    assert len(set(first)) == 3
    assert seen == first + first
    assert here not in first
    assert os.getpid() == here
