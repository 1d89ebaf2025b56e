"""Reused tasks: that they come and go as they ought. That servicers do not notice is tested in test_server.py."""

import asyncio
from collections.abc import Awaitable, Callable

from cluster.rpc.grpc.server.workers import IDLE_MAX, Workers


class Call:
    def __init__(self, behavior: Callable[[], Awaitable[None]]) -> None:
        self.behavior = behavior
        self.task: asyncio.Task[None] | None = None

    async def run(self, task: "asyncio.Task[None]") -> None:
        self.task = task
        await self.behavior()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_calls_that_do_not_wait_share_a_task() -> None:
    workers = Workers()
    done: list[int] = []

    def call(number: int) -> Call:
        async def behave() -> None:
            done.append(number)

        return Call(behave)

    calls = [call(number) for number in range(500)]
    for each in calls:
        workers.submit(each)
    await until(lambda: len(done) == 500)
    assert done == list(range(500))
    assert len({each.task for each in calls}) <= 10
    workers.close()
    await until(lambda: len(workers) == 0)


async def test_each_waiting_call_has_a_task_and_the_rest_goes_on() -> None:
    workers = Workers()
    gate = asyncio.Event()
    running = 0

    async def wait() -> None:
        nonlocal running
        running += 1
        await gate.wait()

    for _ in range(200):
        workers.submit(Call(wait))
    await until(lambda: running == 200)
    gate.set()
    await until(lambda: len(workers) == IDLE_MAX)
    workers.close()
    await until(lambda: len(workers) == 0)


async def test_a_cancelled_worker_leaves_and_the_queue_is_served() -> None:
    workers = Workers()
    done = 0

    async def cancel() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async def behave() -> None:
        nonlocal done
        await asyncio.sleep(0)
        done += 1

    for _ in range(20):
        workers.submit(Call(cancel))
        workers.submit(Call(behave))
    await until(lambda: done == 20)
    workers.close()
    await until(lambda: len(workers) == 0)
