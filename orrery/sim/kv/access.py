"""How a process on a client's host reaches the members: a channel to each, and every call to one by chance.

So that a member that has fallen behind, or that leads no more and does not know it, is asked, too.
"""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub, LeaseStub, WatchStub
from orrery.sim.kv.cluster import CALL_TIMEOUT_S, connect
from runtime import Runtime

if TYPE_CHECKING:
    from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVAsyncStub, LeaseAsyncStub, WatchAsyncStub


class Access:
    """The channels of one host. `source` chooses."""

    def __init__(
        self, runtime: Runtime, members: Sequence[str], source: random.Random, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        self.timeout_s = timeout_s
        """How long a call waits for its answer."""
        self._source = source
        self._channels = [connect(runtime, member) for member in members]
        self._kv: list[KVAsyncStub] = [KVStub(channel) for channel in self._channels]
        self._lease: list[LeaseAsyncStub] = [LeaseStub(channel) for channel in self._channels]
        self._watch: list[WatchAsyncStub] = [WatchStub(channel) for channel in self._channels]

    @property
    def kv(self) -> "KVAsyncStub":
        """KV of some member."""
        return self._source.choice(self._kv)

    @property
    def lease(self) -> "LeaseAsyncStub":
        """Lease of some member."""
        return self._source.choice(self._lease)

    @property
    def watch(self) -> "WatchAsyncStub":
        """Watch of some member."""
        return self._source.choice(self._watch)

    async def close(self) -> None:
        """Closes the channels, and with them what is under way."""
        for channel in self._channels:
            await channel.close()
