"""RPC between processes and with clients: one place makes servers and channels."""

from cluster.rpc.engine import RpcOptions, Server, bind, create_channel, create_server, listen

__all__ = ["RpcOptions", "Server", "bind", "create_channel", "create_server", "listen"]
