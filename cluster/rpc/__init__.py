"""RPC: an HTTP/2 and gRPC engine on asyncio protocols, drop-in for grpc.aio, that also runs inside the simulator."""
