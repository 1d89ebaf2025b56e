"""The gentle end of a connection to an endpoint that has left the set."""

import asyncio
from collections.abc import Mapping

import grpc.aio

from cluster.rpc.grpc import Channel

DETAILS = "the endpoint has left the service"


async def part(channel: grpc.aio.Channel, grace_s: float) -> None:
    """Ends a channel: no new calls; running ones may take `grace_s`, and fail as UNAVAILABLE then.

    Cancelled, it ends them at once. grpcio's channels know only how to cancel what runs on.
    """
    if isinstance(channel, Channel):
        await channel.leave(grace_s, DETAILS)
    else:
        await channel.close(grace_s)


async def end_parting(parting: Mapping["asyncio.Task[None]", grpc.aio.Channel]) -> None:
    """Cuts the tasks of `part` short that still run, and ends their channels."""
    pairs = dict(parting)
    for task in pairs:
        task.cancel()
    await asyncio.gather(*pairs, return_exceptions=True)
    for channel in pairs.values():
        # A task that was cancelled before it began has done nothing; to the others' channels this is nothing new.
        await channel.close()
