"""What makes processes one cluster: consensus, replicas, RPC, telemetry."""
