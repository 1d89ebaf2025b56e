"""The gentle end of a connection to an endpoint that has left the set."""

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
