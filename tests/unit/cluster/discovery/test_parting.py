import asyncio

import grpc
import grpc.aio
import pytest

from cluster.discovery.parting import end_parting, part
from cluster.rpc import RpcOptions, create_channel
from runtime.real import StreamNet, SystemRandomness


def channel(engine: str = "orrery") -> grpc.aio.Channel:
    options = RpcOptions(engine="orrery" if engine == "orrery" else "grpcio")
    return create_channel("127.0.0.1:1", options, net=StreamNet(), random=SystemRandomness())


@pytest.mark.parametrize("engine", ["orrery", "grpcio"])
async def test_a_channel_without_calls_ends_at_once(engine: str) -> None:
    made = channel(engine)
    async with asyncio.timeout(5):
        await part(made, 60.0)
    assert made.get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_cut_short_before_and_after_they_began() -> None:
    channels = [channel() for _ in range(3)]
    tasks = {asyncio.create_task(part(each, 60.0)): each for each in channels[:2]}
    await asyncio.sleep(0)
    tasks[asyncio.create_task(part(channels[2], 60.0))] = channels[2]
    await end_parting(tasks)
    assert all(each.get_state() is grpc.ChannelConnectivity.SHUTDOWN for each in channels)
    assert all(task.done() for task in tasks)
