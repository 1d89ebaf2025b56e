"""What this process knows of the registry: the copy, what is asked of it, and who waits for its changes."""

from services.registry.catalogue.memory import MemoryCatalogue
from services.registry.catalogue.stored import (
    BeatRecord,
    CheckRecord,
    GoneRecord,
    Key,
    KeyKind,
    ProcessRecord,
    Record,
    Stored,
    Unreadable,
    Update,
)

__all__ = [
    "BeatRecord",
    "CheckRecord",
    "GoneRecord",
    "Key",
    "KeyKind",
    "MemoryCatalogue",
    "ProcessRecord",
    "Record",
    "Stored",
    "Unreadable",
    "Update",
]
