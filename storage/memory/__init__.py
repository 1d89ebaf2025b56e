"""The engine that keeps everything in memory."""

from storage.memory.engine import MemoryEngine

__all__ = ["MemoryEngine"]
