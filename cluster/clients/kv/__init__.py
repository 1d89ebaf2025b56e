"""The kv service as other services use it: calls that go to another member when one fails, and watches that survive."""

from cluster.clients.kv.client import KvClient
from cluster.clients.kv.errors import KvError, KvRefused, KvUnavailable
from cluster.clients.kv.ranges import prefix_end
from cluster.clients.kv.watching import Listener, Watch

__all__ = ["KvClient", "KvError", "KvRefused", "KvUnavailable", "Listener", "Watch", "prefix_end"]
