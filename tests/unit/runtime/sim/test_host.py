"""A crashed host is silent at once and altogether; what it had synced is all that the next life finds."""

import asyncio
import contextlib
import dataclasses
import itertools

import pytest

from runtime import Runtime
from runtime.sim import HostCrashed, HostDown, Limits, SimulationFailed, SwarmOptions, World, run


async def forever(_: Runtime) -> None:
    await asyncio.get_running_loop().create_future()


def test_finally_blocks_of_a_crashed_host_reach_neither_disk_nor_network() -> None:
    ran: list[str] = []

    async def listen(runtime: Runtime) -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                heard.extend(await reader.read(100))

        await (await asyncio.start_server(handle, "0.0.0.0", 9)).serve_forever()

    heard: list[int] = []

    async def doomed(runtime: Runtime) -> None:
        file = await runtime.disk.open("log", create=True)
        await file.pwrite([b"synced"], 0, sync=True)
        await runtime.disk.sync_directory(".")
        _, writer = await asyncio.open_connection("witness", 9)
        loop = asyncio.get_running_loop()

        async def last_words() -> None:
            ran.append("a task started by the dead")

        try:
            await asyncio.sleep(1000)
        finally:
            ran.append("finally")
            writer.write(b"goodbye")
            writer.close()
            loop.call_soon(ran.append, "a callback of the dead")
            loop.call_later(1, ran.append, "a timer of the dead")
            with contextlib.suppress(RuntimeError):
                asyncio.create_task(last_words())  # noqa: RUF006
            with contextlib.suppress(OSError):
                await file.pwrite([b"not to be seen"], 0, sync=True)
            ran.append("refused")
            await asyncio.sleep(0)
            ran.append("after an await")

    async def reborn(runtime: Runtime) -> None:
        assert await runtime.disk.read("log") == b"synced"
        ran.append("reborn")

    async def scenario(world: World) -> None:
        host = world.host("doomed")
        world.host("witness").boot(listen)
        await asyncio.sleep(0.1)
        host.boot(doomed)
        await asyncio.sleep(5)
        (host.crash if world.seed % 2 else host.kill)()
        await asyncio.sleep(10)
        await host.boot(reborn)

    for seed in range(10):
        ran.clear()
        run(seed, scenario)
        # The first await that would wait ends the closing of the coroutine, so nothing behind it runs.
        assert ran == ["finally", "refused", "reborn"]
        assert not heard


def test_every_task_of_a_host_ends_with_it_and_waiters_from_outside_hear() -> None:
    beats: list[str] = []

    async def beat(name: str) -> None:
        while True:
            await asyncio.sleep(0.1)
            beats.append(name)

    async def main(_: Runtime) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(beat("a"))
            group.create_task(beat("b"))

    async def scenario(world: World) -> None:
        host = world.host("h")
        host.boot(main)
        task = host.spawn(beat("c"), name="beat")
        await asyncio.sleep(1.05)
        host.crash()
        assert sorted(set(beats)) == ["a", "b", "c"]
        count = len(beats)
        with pytest.raises(HostDown):
            await task
        await asyncio.sleep(10)
        assert len(beats) == count
        with pytest.raises(RuntimeError, match="nothing runs"):
            host.spawn(beat("d"), name="beat")

    run(1, scenario)


def test_a_host_can_crash_itself_in_the_middle_of_a_step() -> None:
    story: list[str] = []

    async def scenario(world: World) -> None:
        host = world.host("h")

        async def main(_: Runtime) -> None:
            try:
                host.crash()
            except (OSError, RuntimeError, ValueError):
                story.append("mistaken for an error")
            finally:
                story.append("finally")
                asyncio.get_running_loop().call_soon(story.append, "late")

        host.boot(main)
        await asyncio.sleep(1)
        assert host.process is None
        assert not host.powered

    run(1, scenario)
    assert story == ["finally"]
    assert not issubclass(HostCrashed, Exception)


def test_what_is_ready_at_the_moment_of_the_crash_does_not_run_any_more() -> None:
    ran: list[str] = []

    async def scenario(world: World) -> None:
        host = world.host("h")

        async def note() -> None:
            ran.append("a step")

        async def main(_: Runtime) -> None:
            loop = asyncio.get_running_loop()
            loop.call_later(1, host.crash)
            loop.call_later(1, ran.append, "a timer of the same moment")
            await asyncio.sleep(1)
            ran.append("a sleeper of the same moment")

        await host.boot(main)
        host.boot(forever)
        await asyncio.sleep(1)
        host.spawn(note(), name="note")
        (host.crash if world.seed % 2 else host.pause)()
        await asyncio.sleep(1)
        assert not ran
        host.resume()
        await asyncio.sleep(1)
        assert ran == ([] if world.seed % 2 else ["a step"])
        ran.clear()

    for seed in range(12):
        run(seed, scenario)


def test_no_timer_is_early_by_its_own_clock() -> None:
    async def scenario(world: World) -> None:
        async def main(runtime: Runtime) -> None:
            loop = asyncio.get_running_loop()
            # Long after the start virtual time is coarser than the host's, and the way there and back rounds.
            await asyncio.sleep(5e6)
            for _ in range(2000):
                due_s = loop.time() + runtime.random.random()
                reached = loop.create_future()
                loop.call_at(due_s, reached.set_result, None)
                await reached
                assert loop.time() >= due_s

        await world.host("h").boot(main)

    options = dataclasses.replace(SwarmOptions(), clock_drift_max=0.05)
    for seed in range(3):
        run(seed, scenario, options=options, limits=Limits(virtual_s_max=1e9))


def test_a_power_cut_loses_what_was_not_synced_and_a_kill_does_not() -> None:
    async def write(runtime: Runtime) -> None:
        file = await runtime.disk.open("f", create=True)
        await runtime.disk.sync_directory(".")
        await file.pwrite([b"x" * 4096], 0)
        await runtime.disk.lock("lock")
        await forever(runtime)

    lost = []

    async def scenario(world: World) -> None:
        host = world.host("h")
        for end in (host.kill, host.crash):
            host.boot(write)
            await asyncio.sleep(5)
            end()
            found: list[bytes] = []

            async def read(runtime: Runtime, found: list[bytes] = found) -> None:
                await runtime.disk.lock("lock")
                found.append(await runtime.disk.read("f"))

            await host.boot(read)
            if end == host.kill:
                assert found == [b"x" * 4096]
            else:
                lost.append(found != [b"x" * 4096])
            host.wipe()

    for seed in range(12):
        run(seed, scenario)
    assert 0 < sum(lost) < 12


def test_a_paused_host_does_nothing_and_then_goes_on() -> None:
    beats: list[float] = []

    async def main(_: Runtime) -> None:
        while True:
            await asyncio.sleep(1)
            beats.append(asyncio.get_running_loop().time())

    async def scenario(world: World) -> None:
        host = world.host("h")
        host.boot(main)
        await asyncio.sleep(3.5)
        host.pause()
        await asyncio.sleep(10)
        assert len(beats) == 3
        host.resume()
        await asyncio.sleep(2)
        assert len(beats) == 5
        assert beats[3] - beats[2] == pytest.approx(10.5)

    run(1, scenario, options=SwarmOptions())


def test_clocks_differ_drift_and_step() -> None:
    async def scenario(world: World) -> None:
        read: dict[str, list[float]] = {}

        async def main(runtime: Runtime, name: str) -> None:
            loop = asyncio.get_running_loop()
            start = [loop.time(), runtime.clock.monotonic_s(), runtime.clock.wall_s()]
            await asyncio.sleep(1000)
            now = [loop.time(), runtime.clock.monotonic_s(), runtime.clock.wall_s()]
            assert abs(start[0] - start[1]) > 1, "two clocks that are not to be mixed"
            read[name] = [after - before for before, after in zip(start, now, strict=True)]

        start_s = world.virtual_s
        mains = [
            world.host(name).boot(lambda runtime, name=name: main(runtime, name))  # type: ignore[misc]
            for name in ("a", "b")
        ]
        await asyncio.sleep(1)
        world.host("b").clock.step(-50)
        took: list[float] = []
        for ended in mains:
            await ended
            took += [world.virtual_s - start_s]
        assert read["a"] == [pytest.approx(1000)] * 3
        assert read["b"] == [pytest.approx(1000), pytest.approx(1000), pytest.approx(950)]
        # Each slept a thousand seconds of its own; the world's clock has it otherwise.
        rates = [world.host(name).rate for name in ("a", "b")]
        assert rates[0] != rates[1]
        assert max(took) == pytest.approx(1000 / min(rates))

    run(3, scenario, options=dataclasses.replace(SwarmOptions(), clock_drift_max=0.05, clock_offset_s_max=3))


def test_an_exit_is_the_end_of_the_process_and_an_error_fails_the_run() -> None:
    async def leave(_: Runtime) -> None:
        asyncio.get_running_loop().call_later(1, pytest.fail, "a timer outlived its process")

    async def fail(_: Runtime) -> None:
        raise ValueError("broken")

    async def scenario(world: World) -> None:
        host = world.host("h")
        await host.boot(leave)
        await asyncio.sleep(5)
        assert host.process is None
        host.boot(fail, may_fail=True)
        await asyncio.sleep(1)
        assert isinstance(host.exit_error, ValueError)
        if world.seed:
            host.boot(fail)
            with pytest.raises(RuntimeError, match="runs already"):
                host.boot(fail)
            await asyncio.sleep(1)

    run(0, scenario)
    with pytest.raises(SimulationFailed, match=r"seed 1 failed after .*ValueError: broken") as caught:
        run(1, scenario)
    assert isinstance(caught.value.__cause__, ValueError)
    assert "main failed" in str(caught.value)


def test_a_drift_that_begins_bends_the_clocks_and_breaks_none() -> None:
    async def scenario(world: World) -> None:
        host = world.host("h")
        read: list[tuple[float, float, float]] = []

        async def main(runtime: Runtime) -> None:
            loop = asyncio.get_running_loop()

            def look() -> None:
                read.append((loop.time(), runtime.clock.monotonic_s(), runtime.clock.wall_s()))

            while True:
                look()
                await asyncio.sleep(1)

        host.boot(main)
        await asyncio.sleep(10.5)
        host.drift(1.5)
        await asyncio.sleep(10)
        host.kill()
        assert host.process is None
        assert host.rate == 1.5
        # Ten beats in the first ten seconds, one that was set before, and then fifteen in ten seconds.
        assert len(read) == pytest.approx(25, abs=1)
        for before, after in itertools.pairwise(read):
            steps = [later - earlier for earlier, later in zip(before, after, strict=True)]
            assert steps == pytest.approx([steps[0]] * 3, abs=1e-3)
            assert 1 <= steps[0] < 1.3
        wall_s = host.clock.wall_s()
        host.drift(1.0)
        assert host.clock.wall_s() == pytest.approx(wall_s)
        with pytest.raises(ValueError, match="cannot run"):
            host.drift(0)

    run(1, scenario, options=SwarmOptions())
