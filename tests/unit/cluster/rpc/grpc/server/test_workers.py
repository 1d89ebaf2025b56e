"""Reused tasks: they come and go as they ought, and servicers do not notice."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable

from cluster.rpc.grpc import Server
from cluster.rpc.grpc.server.workers import IDLE_MAX, Workers
from tests.unit.cluster.rpc.grpc.server.serving import Context, connect, echo, serve, unary


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


# ---- as servicers see it


async def test_calls_that_wait_do_not_hold_up_others(server: Server) -> None:
    gate = asyncio.Event()

    async def wait(request: bytes, context: Context) -> bytes:
        await gate.wait()
        return request

    port = await serve(server, Wait=unary(wait), Echo=unary(echo))
    async with connect(port) as channel, asyncio.timeout(5):
        waiting = [channel.unary_unary("/t.T/Wait")(b"%d" % number) for number in range(100)]
        assert await channel.unary_unary("/t.T/Echo")(b"x") == b"x"
        gate.set()
        assert [await call for call in waiting] == [b"%d" % number for number in range(100)]


async def test_context_variables_do_not_leak_from_call_to_call(server: Server) -> None:
    variable: contextvars.ContextVar[bytes] = contextvars.ContextVar("variable", default=b"unset")

    async def look(request: bytes, context: Context) -> bytes:
        seen = variable.get()
        variable.set(request)
        return seen

    port = await serve(server, Look=unary(look))
    async with connect(port) as channel:
        assert [await channel.unary_unary("/t.T/Look")(b"%d" % number) for number in range(5)] == [b"unset"] * 5


async def test_a_late_cancellation_does_not_strike_the_next_call(server: Server) -> None:
    """Fails when a worker goes on after its task was asked to cancel: the next call's first wait would raise."""

    async def cancels_itself(request: bytes, context: Context) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return b"done"

    async def waits(request: bytes, context: Context) -> bytes:
        await asyncio.sleep(0)
        return b"waited"

    port = await serve(server, Cancels=unary(cancels_itself), Waits=unary(waits))
    async with connect(port) as channel, asyncio.timeout(5):
        for _ in range(3):
            calls = [channel.unary_unary(f"/t.T/{name}")(b"") for name in ("Cancels", "Waits", "Waits")]
            assert [await call for call in calls] == [b"done", b"waited", b"waited"]


async def test_timeouts_and_task_groups_work_in_servicers(server: Server) -> None:
    async def behave(request: bytes, context: Context) -> bytes:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]
            return bytes(task.result() for task in tasks)
        return b""

    port = await serve(server, Behave=unary(behave))
    async with connect(port) as channel:
        assert [await channel.unary_unary("/t.T/Behave")(b"") for _ in range(3)] == [b"\0\1\2"] * 3
