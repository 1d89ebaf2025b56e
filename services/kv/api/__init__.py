"""The heads that speak the etcd v3 API: one file a gRPC service."""
