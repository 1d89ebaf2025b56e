"""A copy-on-write B+tree in one file: an engine for reads, and for writes that come in order."""

from storage.btree.engine import BTreeEngine, BTreeSnapshot, BTreeStatistics

__all__ = ["BTreeEngine", "BTreeSnapshot", "BTreeStatistics"]
