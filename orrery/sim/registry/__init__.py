"""The registry over kv in simulated worlds."""
