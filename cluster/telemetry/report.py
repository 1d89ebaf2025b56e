"""What a process says of itself on `/readyz` and `/info`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

VERSION = "0.1.0"
"""Orrery's version, as in pyproject.toml; a constant because package metadata costs 20 ms to read at start."""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of readiness."""

    name: str
    """What must hold, in a word or two: `leader known`."""
    ok: bool
    detail: str = ""
    """What it waits for, or what it found; one line."""


@dataclass(frozen=True, slots=True)
class Info:
    """Who a process is and how to reach it."""

    service: str
    node: str
    role: str
    """`leader`, `follower`, `candidate`, `learner`; `joining` while the member asks whether it is new, `recovering`
    while it rebuilds what it lost; empty for services without the notion.
    """
    leader: str
    """The node that leads as far as this one knows, or empty."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Where clients go, by protocol, e.g. `{"etcd": "http://127.0.0.1:23790"}`."""
    data_dir: str = ""
    """The directory that this process owns, or empty when it keeps nothing."""
    parts: Mapping[str, object] = field(default_factory=dict)
    """What parts of the process tell of themselves, by their names, beside the rest: `{"membership": {...}}`. They are
    shown as JSON."""
