"""What a process of the lock service serves."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc.aio

from cluster.pb.orrery.lock.v1.lock_pb2_grpc import ElectionsStub, LocksStub

if TYPE_CHECKING:
    from cluster.pb.orrery.lock.v1.lock_pb2_grpc import ElectionsAsyncStub, LocksAsyncStub


@dataclass(frozen=True, slots=True)
class Stubs:
    """Those of one process."""

    locks: "LocksAsyncStub"
    elections: "ElectionsAsyncStub"

    @staticmethod
    def on(channel: grpc.aio.Channel) -> "Stubs":
        """The stubs on a channel to it."""
        return Stubs(LocksStub(channel), ElectionsStub(channel))
