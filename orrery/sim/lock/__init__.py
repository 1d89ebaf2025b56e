"""The lock service over kv in simulated worlds."""
