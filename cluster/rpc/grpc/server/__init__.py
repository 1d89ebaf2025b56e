"""The gRPC server."""

from cluster.rpc.grpc.server.call import ServerCall
from cluster.rpc.grpc.server.connection import Observer, ServerOptions
from cluster.rpc.grpc.server.server import Server

__all__ = ["Observer", "Server", "ServerCall", "ServerOptions"]
