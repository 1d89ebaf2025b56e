"""Raft: a pure core, and a driver that owns disk and network."""
