"""Calls to servicers of the same process, without a connection: for other protocols' heads on the same services."""

from cluster.rpc.in_process.calls import InProcessCalls, Requests, ResponseStream
from cluster.rpc.in_process.context import InProcessContext

__all__ = ["InProcessCalls", "InProcessContext", "Requests", "ResponseStream"]
