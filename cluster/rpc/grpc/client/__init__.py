"""The gRPC channel."""

from cluster.rpc.grpc.client.channel import Channel
from cluster.rpc.grpc.client.options import ChannelOptions

__all__ = ["Channel", "ChannelOptions"]
