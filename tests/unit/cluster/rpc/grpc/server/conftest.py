from tests.unit.cluster.rpc.grpc.server.serving import server

__all__ = ["server"]
