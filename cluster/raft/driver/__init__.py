"""Drives Raft cores: owns their disk and their network."""
