"""gRPC on our own HTTP/2, drop-in for grpc.aio."""

from cluster.rpc.grpc.client import Channel, ChannelOptions
from cluster.rpc.grpc.server import Observer, Server, ServerCall, ServerOptions
from cluster.rpc.grpc.status import CallFailed

__all__ = ["CallFailed", "Channel", "ChannelOptions", "Observer", "Server", "ServerCall", "ServerOptions"]
