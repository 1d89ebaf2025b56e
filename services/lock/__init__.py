"""Locks, semaphores and elections over kv."""
