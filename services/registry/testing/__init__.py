"""A registry without kv, for the tests of whatever stands on it."""

from services.registry.testing.memory import MemoryStore, memory_registry

__all__ = ["MemoryStore", "memory_registry"]
