"""gRPC on our own HTTP/2, drop-in for grpc.aio."""
