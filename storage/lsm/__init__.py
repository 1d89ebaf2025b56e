"""The log-structured merge engine."""

from storage.lsm.compression import Compression
from storage.lsm.engine import LsmEngine, OperatorMismatch
from storage.lsm.options import CompactionPolicy, LsmOptions
from storage.lsm.statistics import LevelStatistics, LsmStatistics

__all__ = [
    "CompactionPolicy",
    "Compression",
    "LevelStatistics",
    "LsmEngine",
    "LsmOptions",
    "LsmStatistics",
    "OperatorMismatch",
]
