"""A program for the determinism tests: plays seeds and prints their trace hashes, one a line.

    python leaky_program.py {clean|task-ids|ids|strings|clock|entropy|early-clock} SEED...

All kinds but `clean` have a planted leak. It is run in processes of its own, with different PYTHONHASHSEEDs.
"""

import asyncio
import os
import random
import sys
import time
from time import perf_counter_ns as imported_before_the_guard

from runtime import Runtime
from runtime.sim import SimulationFailed, World, run
from runtime.sim.handles import SimTask


class Ticket:
    """Hashes by address, as objects do."""


def main() -> None:
    kind = sys.argv[1]
    if kind == "task-ids":
        SimTask.__hash__ = asyncio.Task.__hash__  # type: ignore[method-assign]
    # Addresses must differ between processes even where the kernel does not randomize them.
    ballast = [bytearray(size) for size in random.Random(os.urandom(8)).choices(range(1, 600), k=2000)]

    async def serve(runtime: Runtime) -> None:
        file = await runtime.disk.open("log", create=True)
        await runtime.disk.sync_directory(".")
        place = 0

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal place
            try:
                while data := await reader.read(100):
                    await file.pwrite([data], place, sync=True)
                    place += len(data)
                    writer.write(data)
            except OSError:
                return
            finally:
                writer.close()

        await (await asyncio.start_server(handle, "0.0.0.0", 7)).serve_forever()

    async def talk(runtime: Runtime, number: int) -> None:
        loop = asyncio.get_running_loop()
        for round_number in range(5):
            try:
                async with asyncio.timeout(2):
                    reader, writer = await asyncio.open_connection("server", 7)
                    words: set[object] = {"the", "order", "of", "a", "set"}
                    text = " ".join(sorted(map(str, words)))
                    if kind == "strings":
                        text = " ".join(map(str, words))
                    elif kind == "ids":
                        tickets = {Ticket(): index for index in range(8)}
                        text = str([tickets[ticket] for ticket in set(tickets)])
                    elif kind == "clock":
                        text = str(time.monotonic())
                    elif kind == "entropy":
                        text = os.urandom(4).hex()
                    elif kind == "early-clock":
                        text = str(imported_before_the_guard())
                    writer.write(b"%d %d %s" % (number, runtime.random.integer(0, 1000), text.encode()))
                    await reader.read(100)
                    writer.close()
            except (OSError, TimeoutError):
                await asyncio.sleep(round_number * 0.1)
            # Sets of tasks and futures are in order: they hash by number here.
            tasks = {loop.create_task(asyncio.sleep(runtime.random.random() / 10)) for _ in range(5)}
            _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def clients(runtime: Runtime) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(talk(runtime, number))

    async def scenario(world: World) -> None:
        world.host("server").boot(serve)
        ended = world.host("client").boot(clients)
        for _ in range(3):
            await asyncio.sleep(world.random.uniform(0, 1))
            world.host("server").crash()
            await asyncio.sleep(world.random.uniform(0, 1))
            world.host("server").wipe()
            world.host("server").boot(serve)
        await ended

    for seed in sys.argv[2:]:
        try:
            outcome = run(int(seed), scenario)
        except SimulationFailed as failure:
            print(type(failure.__cause__).__name__)
        else:
            print(outcome.seed, outcome.trace_hash, outcome.virtual_s, outcome.steps)
    assert ballast


main()
