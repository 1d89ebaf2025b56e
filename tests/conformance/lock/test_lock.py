"""`etcdctl lock` and the lock service exclude each other, and `etcdctl txn` is fenced by our tokens.

Real processes on both sides: three members of kv, two lock processes, Debian's etcdctl.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from cluster.clients.lock import Grant, Locks, NotGranted
from runtime.real import StreamNet, SystemClock, SystemRandomness
from tests.conformance.clusters import OrreryCluster, missing_for_orrery

WAIT_S = 20.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrreryCluster]:
    if reason := missing_for_orrery():
        pytest.skip(reason)
    cluster = OrreryCluster(tmp_path_factory.mktemp("lock"), services="lock")
    yield cluster
    cluster.close()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


async def client(running: OrreryCluster, stack: AsyncExitStack, *, ttl_s: int = 5) -> Locks:
    locks = Locks(
        running.lock_addresses,
        clock=SystemClock(),
        random=SystemRandomness(),
        net=StreamNet(),
        ttl_s=ttl_s,
        lock_delay_s=0,
    )
    return await stack.enter_async_context(locks)


async def command(running: OrreryCluster, *arguments: str) -> str:
    """One `orrery` command, beside the clients: they must be able to renew their sessions meanwhile."""
    return await asyncio.to_thread(running.command, *arguments)


async def etcdctl(running: OrreryCluster, *arguments: str, stdin: str | None = None) -> "asyncio.subprocess.Process":
    process = await asyncio.create_subprocess_exec(
        "etcdctl",
        *("--endpoints", ",".join(running.client_addresses)),
        *arguments,
        env={**os.environ, "ETCDCTL_API": "3"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    if stdin is not None:
        assert process.stdin is not None
        process.stdin.write(stdin.encode())
        process.stdin.close()
    return process


async def line_of(process: "asyncio.subprocess.Process") -> str:
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S):
        return (await process.stdout.readline()).decode().strip()


@asynccontextmanager
async def locked_by_etcdctl(running: OrreryCluster, name: str) -> AsyncIterator[str]:
    """`etcdctl lock NAME`, without a command: it prints its key and holds until it is interrupted."""
    process = await etcdctl(running, "lock", name)
    try:
        key = await line_of(process)
        assert key.startswith(f"{name}/"), key
        yield key
        process.send_signal(signal.SIGINT)
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until_places(locks: Locks, name: str, places: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(await locks.inspect(name)) != places:
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("etcdctl")
async def test_what_etcdctl_holds_the_service_does_not_give(running: OrreryCluster, stack: AsyncExitStack) -> None:
    locks = await client(running, stack)
    async with locked_by_etcdctl(running, "one") as key:
        place = (await locks.inspect("one"))[0]
        assert (place.key.decode(), place.mode, place.granted) == (key, "foreign", True)
        for shared in (False, True):
            with pytest.raises(NotGranted):
                await _try(locks, "one", shared=shared)
        waiting = asyncio.create_task(locks.acquire("one"))
        await until_places(locks, "one", 2)
        assert not waiting.done()
    async with asyncio.timeout(WAIT_S):
        grant = await waiting
    assert grant.token > place.token
    await locks.release(grant)


async def _try(locks: Locks, name: str, *, shared: bool) -> None:
    async with locks.hold(name, wait_s=0, shared=shared):
        pass


@pytest.mark.usefixtures("etcdctl")
@pytest.mark.parametrize("kind", ["exclusive", "shared", "semaphore"])
async def test_what_the_service_gave_etcdctl_waits_for(
    running: OrreryCluster, stack: AsyncExitStack, kind: str
) -> None:
    locks = await client(running, stack)
    name = f"two-{kind}"
    holding = locks.permit(name, 3) if kind == "semaphore" else locks.hold(name, shared=kind == "shared")
    async with holding:
        process = await etcdctl(running, "lock", name, "echo", "got it")
        await until_places(locks, name, 2)
        assert process.returncode is None
        assert not (await locks.inspect(name))[1].granted
    assert await line_of(process) == "got it"
    assert await process.wait() == 0


@pytest.mark.usefixtures("etcdctl")
async def test_both_stand_in_one_queue(running: OrreryCluster, stack: AsyncExitStack) -> None:
    """Alternating, each gets it in the order in which it came."""
    locks = [await client(running, stack) for _ in range(3)]
    order: list[str] = []
    first = await locks[0].acquire("queue")

    async def ours(index: int) -> Grant:
        grant = await locks[index].acquire("queue")
        order.append(f"service {index}")
        await locks[index].release(grant)
        return grant

    async def theirs(index: int) -> None:
        process = await etcdctl(running, "lock", "queue", "echo", str(index))
        assert await line_of(process) == str(index)
        order.append(f"etcdctl {index}")
        await process.wait()

    tasks: list[asyncio.Task[object]] = []
    for index in (1, 2):
        tasks.append(asyncio.create_task(theirs(index)))
        await until_places(locks[0], "queue", len(tasks) + 1)
        tasks.append(asyncio.create_task(ours(index)))
        await until_places(locks[0], "queue", len(tasks) + 1)
    await locks[0].release(first)
    async with asyncio.timeout(WAIT_S):
        await asyncio.gather(*tasks)
    assert order == ["etcdctl 1", "service 1", "etcdctl 2", "service 2"]


@pytest.mark.usefixtures("etcdctl")
async def test_a_transaction_of_etcdctl_is_fenced_by_our_token(running: OrreryCluster, stack: AsyncExitStack) -> None:
    """The example of services/lock/README.md, as it stands there."""
    locks = await client(running, stack)
    stale = await locks.acquire("reports")

    async def write(grant: Grant, value: str) -> str:
        text = f'create("{grant.key.decode()}") = "{grant.token}"\n\nput report {value}\n\nget report\n\n'
        process = await etcdctl(running, "txn", stdin=text)
        return await line_of(process)

    assert await write(stale, "first") == "SUCCESS"
    await locks.release(stale)
    assert await write(stale, "late") == "FAILURE"
    fresh = await locks.acquire("reports")
    assert fresh.token > stale.token
    assert await write(stale, "late") == "FAILURE"
    assert await write(fresh, "second") == "SUCCESS"
    shown = await etcdctl(running, "get", "report", "--print-value-only")
    assert await line_of(shown) == "second"
    await locks.release(fresh)


@pytest.mark.usefixtures("etcdctl")
async def test_elections_are_those_of_etcdctl(running: OrreryCluster, stack: AsyncExitStack) -> None:
    locks = await client(running, stack)
    async with locks.lead("chair", b"ours"):
        process = await etcdctl(running, "elect", "chair", "theirs")
        await until_places(locks, "chair", 2)
        listener = await etcdctl(running, "elect", "-l", "chair")
        assert (await line_of(listener)).startswith("chair/")
        assert await line_of(listener) == "ours"
    assert (await line_of(process)).startswith("chair/")
    leader = await locks.leader("chair")
    assert leader is not None
    assert leader.value == b"theirs"
    for each in (process, listener):
        each.kill()
        await each.wait()


async def test_a_killed_lock_process_loses_no_lock(running: OrreryCluster, stack: AsyncExitStack) -> None:
    locks = [await client(running, stack) for _ in range(4)]
    held = [await each.acquire(f"own-{index}") for index, each in enumerate(locks)]
    first = await locks[0].acquire("hot")
    waiting = [asyncio.create_task(each.acquire("hot")) for each in locks[1:]]
    await until_places(locks[0], "hot", 4)
    before = [place.token for place in await locks[0].inspect("hot")]
    try:
        for node in ("lock-1", "lock-2"):
            await command(running, "kill", node)
            assert [place.token for place in await locks[0].inspect("hot")] == before
            await command(running, "start", node)
        await locks[0].release(first)
        tokens = []
        async with asyncio.timeout(WAIT_S):
            pending = dict(zip(waiting, locks[1:], strict=True))
            while pending:
                done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    grant = await task
                    tokens.append(grant.token)
                    await pending.pop(task).release(grant)
        assert tokens == before[1:]
        assert all(grant.is_held for grant in held)
    finally:
        for task in waiting:
            task.cancel()


async def test_a_killed_leader_of_kv_loses_no_lock(running: OrreryCluster, stack: AsyncExitStack) -> None:
    locks = [await client(running, stack, ttl_s=10) for _ in range(2)]
    held = await locks[0].acquire("own")
    waiting = asyncio.create_task(locks[1].acquire("own"))
    await until_places(locks[0], "own", 2)
    rows = json.loads(await command(running, "status", "--json"))
    leader = next(row["node"] for row in rows if row["role"] == "leader")
    await command(running, "kill", leader)
    try:
        async with asyncio.timeout(WAIT_S):
            other = await locks[0].acquire("during")
            await locks[0].release(other)
            assert held.is_held
            await locks[0].release(held)
            grant = await waiting
        assert grant.token > held.token
    finally:
        await command(running, "start", leader)
