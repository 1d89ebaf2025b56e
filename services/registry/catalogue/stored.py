"""What is kept, and how it changes, without a word on how it is written: `services.registry.records` knows that."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import msgspec

from services.registry.domain import CheckDefinition, CheckState, Instance, Node


class KeyKind(StrEnum):
    """What a key holds. The values are the first parts of the keys in kv."""

    NODE = "nodes"
    INSTANCE = "instances"
    CHECK = "checks"
    BEAT = "beats"
    """The time of a TTL check runs: attached to a lease, so that it vanishes when the time is over."""
    PROCESS = "processes"
    """A process of the registry lives: attached to a lease, too."""
    GONE_SERVICE = "gone-services"
    """The latest removal of something from a service. What is there tells its index itself, what is gone cannot."""
    GONE_NODE = "gone-nodes"
    GONE_FLOOR = "gone-floor"
    """Notes of removals up to here were thrown away: no index is below this one."""


class Key(NamedTuple):
    """One record. For a node, a process or a service only `name` is there; the floor has neither."""

    kind: KeyKind
    name: str
    """Of the node, of the process, or of the service."""
    id: str = ""


class CheckRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A check and what it says, in one record: whoever writes the one compares with the other."""

    definition: CheckDefinition
    state: CheckState


class BeatRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The time of a TTL check."""

    ttl_s: int
    """Of the lease that the record is attached to."""


class ProcessRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A process of the registry."""

    address: str = ""


class GoneRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something was removed. All that counts is the revision of the record."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is there, and that this version does not understand. It is not shown, and may be written over."""

    reason: str


Record: TypeAlias = Node | Instance | CheckRecord | BeatRecord | ProcessRecord | GoneRecord | Unreadable


class Update(NamedTuple):
    """A record as it is from a revision on; None when it was removed."""

    key: Key
    value: Record | None
    revision: int
    lease: int = 0


class Stored(NamedTuple):
    """A record as it is."""

    value: Record
    revision: int
    """Of its latest change."""
    lease: int = 0
