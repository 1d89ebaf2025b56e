"""A segmented write-ahead log with group commit, shared by all Raft groups of a process."""

from storage.wal.errors import WalCorrupted, WalFull
from storage.wal.recovery import RecoveredWal
from storage.wal.wal import Wal, WalStatistics

__all__ = ["RecoveredWal", "Wal", "WalCorrupted", "WalFull", "WalStatistics"]
