"""One endpoint of a balanced channel, with its connection."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc.aio

from cluster.discovery.eligibility import Standing
from cluster.discovery.endpoint import Endpoint
from cluster.discovery.outliers import Record

# What `unary_unary` and its siblings return is typed by messages that only the stubs know.
Starter: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Tls:
    """How connections are secured."""

    context: ssl.SSLContext
    server_hostname: str | None = None
    """Whom the certificates name, when that is not the address."""


class SubChannel(Standing):
    """A channel to one endpoint, and what is known of it."""

    __slots__ = ("channel", "failures", "picks", "starters", "watcher")

    def __init__(self, endpoint: Endpoint, record: Record, channel: grpc.aio.Channel) -> None:
        super().__init__(endpoint, record)
        self.channel = channel
        self.picks = 0
        """Calls that went there, since it is in the set."""
        self.failures = 0
        """Those that failed in a way that speaks against it."""
        self.starters: dict[object, Starter] = {}
        """By method of the balanced channel: what starts a call of it here. Made with the first call."""
        self.watcher: asyncio.Task[None] | None = None
