"""The virtual loop runs what asyncio programs are made of, and refuses the rest."""

import asyncio
import collections
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from runtime.sim import Deadlock, LimitReached, NotSimulated, Schedule, SimLoop
from runtime.sim import loop as loop_module
from runtime.sim.waiting import stack


def play(
    main: Callable[[], Awaitable[Any]], *, seed: int = 1, schedule: Schedule = Schedule.FIFO, **limits: Any
) -> tuple[Any, SimLoop]:
    loop = SimLoop(random.Random(seed), schedule=schedule, **limits)
    try:
        return loop.run_until_complete(main()), loop
    finally:
        loop.close()


@pytest.fixture(params=list(Schedule))
def schedule(request: pytest.FixtureRequest) -> Schedule:
    kind = request.param
    assert isinstance(kind, Schedule)
    return kind


def test_time_moves_only_when_nothing_is_ready_and_costs_nothing(schedule: Schedule) -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        seen = []
        for _ in range(100):
            await asyncio.sleep(0)
        seen.append(loop.time() - start)
        await asyncio.sleep(86_400)
        seen.append(loop.time() - start)
        return seen

    seen, loop = play(main, schedule=schedule)
    assert seen[0] == 0
    assert seen[1] == pytest.approx(86_400)
    assert loop.virtual_s == pytest.approx(86_400)


def test_a_loops_clock_starts_anywhere() -> None:
    starts = {round(SimLoop(random.Random(seed)).time()) for seed in range(20)}
    assert len(starts) == 20
    assert min(starts) >= 1000


def test_producers_consumers_locks_and_groups(schedule: Schedule) -> None:
    async def main() -> int:
        queue: asyncio.Queue[int | None] = asyncio.Queue(maxsize=3)
        lock, gate, total = asyncio.Lock(), asyncio.Event(), 0
        semaphore, inside = asyncio.Semaphore(2), 0

        async def produce(start: int) -> None:
            await gate.wait()
            for number in range(start, start + 20):
                await queue.put(number)
                await asyncio.sleep(0.001)

        async def consume() -> None:
            nonlocal total, inside
            while (number := await queue.get()) is not None:
                async with semaphore:
                    inside += 1
                    assert inside <= 2
                    await asyncio.sleep(0.0005)
                    inside -= 1
                async with lock:
                    before = total
                    await asyncio.sleep(0)
                    total = before + number
                queue.task_done()

        async with asyncio.TaskGroup() as group:
            producers = [group.create_task(produce(start)) for start in (0, 100)]
            for _ in range(3):
                group.create_task(consume())
            gate.set()
            await asyncio.wait(producers)
            await queue.join()
            for _ in range(3):
                await queue.put(None)
        return total

    for seed in range(10):
        total, _ = play(main, seed=seed, schedule=schedule)
        assert total == sum(range(20)) + sum(range(100, 120))


def test_timeouts_cancellation_and_waiting(schedule: Schedule) -> None:
    async def main() -> list[str]:
        story: list[str] = []

        async def slow() -> str:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                story.append("cancelled")
                raise
            return "slow"

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await slow()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow(), 1)
        done, pending = await asyncio.wait(
            [asyncio.create_task(asyncio.sleep(delay, delay)) for delay in (3, 1, 2)],
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert [task.result() for task in done] == [1]
        assert len(pending) == 2
        assert sorted(await asyncio.gather(*pending)) == [2, 3]
        assert await asyncio.shield(slow()) == "slow"
        order = [await first for first in asyncio.as_completed([asyncio.sleep(d, d) for d in (0.3, 0.1, 0.2)])]
        assert order == [0.1, 0.2, 0.3]

        async def fail() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(slow())
                await asyncio.sleep(0.1)
                raise ValueError("out")

        with pytest.raises(ExceptionGroup) as caught:
            await fail()
        assert isinstance(caught.value.exceptions[0], ValueError)
        return story

    story, _ = play(main, schedule=schedule)
    assert story == ["cancelled"] * 3


def test_plain_callbacks_keep_their_order_and_tasks_do_not() -> None:
    def orders(schedule: Schedule) -> tuple[set[tuple[int, ...]], set[tuple[int, ...]]]:
        plain, steps = set(), set()
        for seed in range(40):

            async def main() -> tuple[tuple[int, ...], tuple[int, ...]]:
                loop = asyncio.get_running_loop()
                calls: list[int] = []
                ran: list[int] = []

                async def step(number: int) -> None:
                    ran.append(number)

                for number in range(4):
                    loop.call_soon(calls.append, number)
                await asyncio.gather(*(step(number) for number in range(4)))
                while len(calls) < 4:
                    await asyncio.sleep(0)
                return tuple(calls), tuple(ran)

            (calls, ran), _ = play(main, seed=seed, schedule=schedule)
            plain.add(calls)
            steps.add(ran)
        return plain, steps

    in_order = {(0, 1, 2, 3)}
    assert orders(Schedule.FIFO) == (in_order, in_order)
    for schedule in (Schedule.RANDOM, Schedule.PRIORITY):
        plain, steps = orders(schedule)
        assert plain == in_order
        assert len(steps) > 10


def test_timers_of_one_moment_run_in_the_order_of_their_setting() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        calls: list[int] = []
        when = loop.time() + 1
        for number in range(10):
            loop.call_at(when, calls.append, number)
        loop.call_at(when, calls.append, 99).cancel()
        await asyncio.sleep(2)
        return calls

    assert play(main, schedule=Schedule.RANDOM)[0] == list(range(10))


def test_sets_of_tasks_and_futures_have_one_order() -> None:
    async def main() -> tuple[list[str], list[int]]:
        tasks = {asyncio.create_task(asyncio.sleep(0), name=f"t{number}") for number in range(50)}
        names = [task.get_name() for task in tasks]
        futures = {asyncio.get_running_loop().create_future(): number for number in range(50)}
        order = [futures[future] for future in set(futures)]
        await asyncio.gather(*tasks)
        return names, order

    padding: list[bytearray] = []
    results = []
    for _ in range(5):
        padding.append(bytearray(random.Random(len(padding)).randrange(100_000)))  # moves the addresses
        results.append(play(main)[0])
    assert all(result == results[0] for result in results)


def test_deadlock_says_who_waits_for_what() -> None:
    async def wait_for_godot(event: asyncio.Event) -> None:
        await event.wait()

    async def main() -> None:
        event = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_godot(event), name="vladimir")

    with pytest.raises(Deadlock) as caught:
        play(main)
    text = str(caught.value)
    assert "vladimir waits for a future" in text
    assert "in test_deadlock_says_who_waits_for_what.<locals>.wait_for_godot" in text
    assert "world:" in text


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "STEPS_AT_ONE_TIME_MAX", 50_000)

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    async def live() -> None:
        while True:
            await asyncio.sleep(1)

    with pytest.raises(LimitReached, match="without time moving"):
        play(spin)
    with pytest.raises(LimitReached, match="virtual seconds are over"):
        play(live, virtual_s_max=100)
    with pytest.raises(LimitReached, match="steps are over"):
        play(live, steps_max=1000)


def test_work_for_threads_runs_in_line() -> None:
    def where(number: int) -> tuple[int, int]:
        if number == 3:
            raise ValueError("three")
        return number, threading.get_ident()

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            *(loop.run_in_executor(None, where, number) for number in range(3)),
            asyncio.to_thread(where, 3),
            return_exceptions=True,
        )

    results, _ = play(main)
    assert results[:3] == [(number, threading.get_ident()) for number in range(3)]
    assert isinstance(results[3], ValueError)


def test_an_error_that_nobody_hears_fails_the_run() -> None:
    async def die() -> None:
        raise ZeroDivisionError

    async def lonely_task() -> None:
        asyncio.create_task(die())  # noqa: RUF006  # nobody waits for it: that is the point
        await asyncio.sleep(1)
        for _ in range(200):
            await asyncio.create_task(asyncio.sleep(0))

    async def callback() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    async def handled() -> list[str]:
        heard: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["message"]))
        await callback()
        return heard

    for main in (lonely_task, callback):
        with pytest.raises(ZeroDivisionError):
            play(main)
    heard, _ = play(handled)
    assert len(heard) == 1


def test_async_generators_are_closed_in_the_loop() -> None:
    closed = []

    async def count() -> AsyncIterator[int]:
        try:
            for number in range(10):
                yield number
        finally:
            await asyncio.sleep(0.1)
            closed.append(True)

    async def main() -> None:
        async for number in count():
            if number == 3:
                break
        await asyncio.sleep(1)

    play(main)
    assert closed == [True]


def test_what_has_no_counterpart_is_refused() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(NotSimulated, match="signal"):
            loop.add_signal_handler(15, print)
        with pytest.raises(NotSimulated, match="subprocess"):
            await asyncio.create_subprocess_exec("true")
        with pytest.raises(NotSimulated, match="add_reader"):
            loop.add_reader(0, print)
        with pytest.raises(NotSimulated, match="without a world"):
            await asyncio.open_connection("somewhere", 1)
        with pytest.raises(NotSimulated, match="debug"):
            loop.set_debug(True)

    play(main)


def test_schedules_differ_by_seed_and_repeat_by_seed() -> None:
    async def main() -> str:
        letters: list[str] = []

        async def say(letter: str) -> None:
            for _ in range(3):
                letters.append(letter)
                await asyncio.sleep(0)

        await asyncio.gather(*(say(letter) for letter in "abc"))
        return "".join(letters)

    for schedule in (Schedule.RANDOM, Schedule.PRIORITY):
        runs = [[play(main, seed=seed, schedule=schedule) for seed in range(20)] for _ in range(2)]
        words = [[word for word, _ in run] for run in runs]
        hashes = [[loop.trace.hex() for _, loop in run] for run in runs]
        assert words[0] == words[1]
        assert hashes[0] == hashes[1]
        assert len(set(words[0])) > 5
        assert len(set(hashes[0])) >= len(set(words[0]))


def test_random_chooses_evenly_between_lanes() -> None:
    firsts: collections.Counter[int] = collections.Counter()

    for seed in range(600):

        async def main() -> int:
            first: list[int] = []

            async def step(number: int) -> None:
                first.append(number)

            await asyncio.gather(*(step(number) for number in range(3)))
            return first[0]

        firsts[play(main, seed=seed, schedule=Schedule.RANDOM)[0]] += 1
    assert all(150 < firsts[number] < 250 for number in range(3))


def test_stack_follows_what_is_awaited() -> None:
    async def inner() -> None:
        await asyncio.sleep(5)

    async def main() -> list[str]:
        task = asyncio.create_task(inner())
        await asyncio.sleep(1)
        frames = stack(task.get_coro())
        await task
        return frames

    frames, _ = play(main)
    assert "inner" in frames[0]
    assert frames[-1].endswith("in sleep")
