"""How fast the simulator is, on one core: callbacks, task steps, an echo workload, the real kv cluster.

    python -m bench.sim

Prints one line a measurement. Seconds are of CPU, so that a busy machine disturbs little. Virtual time is free where
nothing happens, so simulated seconds per second only mean something together with the load: messages a second stand
beside them.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from orrery.sim.play import play as play_seed
from runtime import Runtime
from runtime.sim import Outcome, Schedule, SimLoop, SwarmOptions, World, run

CALLBACKS = 300_000
CLIENTS = 10
ECHOES = 1_000


def measured(work: Callable[[], object]) -> tuple[object, float]:
    """What `work` gives, and the seconds of CPU that it took."""
    begun_s = time.process_time()
    result = work()
    return result, time.process_time() - begun_s


def callbacks(schedule: Schedule) -> None:
    """A callback that schedules itself, and ten tasks that yield."""
    loop = SimLoop(random.Random(1), schedule=schedule)
    left = CALLBACKS

    def again() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(again)
        else:
            loop.stop()

    loop.call_soon(again)
    _, took_s = measured(loop.run_forever)
    print(f"{schedule.value:>8}: {CALLBACKS / took_s:10,.0f} callbacks/s", end="")

    async def spin() -> None:
        for _ in range(CALLBACKS // 10):
            await asyncio.sleep(0)

    async def spinners() -> None:
        await asyncio.gather(*(spin() for _ in range(10)))

    loop = SimLoop(random.Random(1), schedule=schedule)
    _, took_s = measured(lambda: loop.run_until_complete(spinners()))
    print(f" {CALLBACKS / took_s:10,.0f} task steps/s")


async def echo_scenario(world: World) -> None:
    """Ten clients send 100 bytes each and wait for the echo, over asyncio's streams."""

    async def serve(_: Runtime) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65_536):
                writer.write(data)
            writer.close()

        await (await asyncio.start_server(echo, "0.0.0.0", 7)).serve_forever()

    async def ask(_: Runtime) -> None:
        async def one() -> None:
            reader, writer = await asyncio.open_connection("server", 7)
            for _ in range(ECHOES):
                writer.write(b"x" * 100)
                await reader.readexactly(100)
            writer.close()

        await asyncio.gather(*(one() for _ in range(CLIENTS)))

    world.host("server").boot(serve)
    await world.host("client").boot(ask)


def show(name: str, play: Callable[[], Outcome]) -> None:
    """Plays, and prints rates."""
    begun_s = time.process_time()
    outcome = play()
    took_s = time.process_time() - begun_s
    print(
        f"{name:>8}: {outcome.virtual_s / took_s:8.2f} simulated s/CPU s {outcome.messages / took_s:10,.0f} messages/s"
        f" {outcome.steps / took_s:10,.0f} steps/s ({took_s:.2f} s)"
    )


def main() -> None:
    """Measures everything."""
    logging.disable(logging.CRITICAL)
    for schedule in Schedule:
        callbacks(schedule)
    show("echo", lambda: run(1, echo_scenario, options=SwarmOptions()))
    for seed in (1, 2, 9):
        show(f"kv {seed}", lambda seed=seed: play_seed("kv", seed).outcome)  # type: ignore[misc]


if __name__ == "__main__":
    main()
