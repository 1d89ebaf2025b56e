"""Answers as bytes, put together from pieces that are encoded once.

An endpoint is encoded when it is first asked for and kept until it changes; so is a whole list. A message of protobuf
is its fields one after the other (https://protobuf.dev/programming-guides/encoding), thus an answer is a list of
encoded endpoints and, after it, how fresh it is.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from services.registry.api.messages import endpoint_message, freshness_message
from services.registry.interface import Endpoint, Staleness

LISTS_BYTES_MAX = 32 * 1024 * 1024
"""Of encoded lists that are kept; those that were asked for longest ago go."""
ENDPOINTS_MAX = 100_000
"""Encoded endpoints that are kept. More than that are encoded each time that they are asked for."""
PART_BYTES_MAX = 512 * 1024
"""Of one response of a watch: a larger snapshot comes in several, so that others get a word in between."""


class Filter(NamedTuple):
    """What of a service is asked for; an empty service means all."""

    service: str
    tags: tuple[str, ...]
    """Sorted. All of them."""
    passing_only: bool

    @staticmethod
    def of(service: str, tags: Iterable[str], *, passing_only: bool) -> "Filter":
        """The same for the same question."""
        return Filter(service, tuple(sorted(set(tags))), passing_only)

    def takes(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint is among what is asked for."""
        if self.service and endpoint.instance.service != self.service:
            return False
        if self.passing_only and endpoint.health.badness:
            return False
        return not self.tags or set(self.tags).issubset(endpoint.instance.tags)


def varint(number: int) -> bytes:
    """A number in base 128, the lowest digits first."""
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _length_tag(number: int) -> bytes:
    """The tag of a field that has a length."""
    return varint(number << 3 | 2)


_LISTED = _length_tag(pb.ListInstancesResponse.ENDPOINTS_FIELD_NUMBER)
_LISTED_FRESHNESS = _length_tag(pb.ListInstancesResponse.FRESHNESS_FIELD_NUMBER)
_CHANGED = _length_tag(pb.WatchResponse.CHANGED_FIELD_NUMBER)
_REMOVED = _length_tag(pb.WatchResponse.REMOVED_FIELD_NUMBER)
_WATCH_FRESHNESS = _length_tag(pb.WatchResponse.FRESHNESS_FIELD_NUMBER)
_IS_SNAPSHOT = varint(pb.WatchResponse.IS_SNAPSHOT_FIELD_NUMBER << 3) + b"\x01"


class Encoder:
    """Encodes, and keeps what was encoded. What it is given does not change afterwards."""

    def __init__(self) -> None:
        self._endpoints: dict[tuple[str, str], tuple[Endpoint, bytes]] = {}
        self._lists: OrderedDict[Filter, tuple[Sequence[Endpoint], bytes]] = OrderedDict()
        self._lists_bytes = 0

    def endpoint(self, endpoint: Endpoint) -> bytes:
        """An endpoint with its length before it, without a tag."""
        place = (endpoint.instance.node, endpoint.instance.id)
        kept = self._endpoints.get(place)
        if kept is not None and kept[0] is endpoint:
            return kept[1]
        body = endpoint_message(endpoint).SerializeToString()
        encoded = varint(len(body)) + body
        if kept is not None or len(self._endpoints) < ENDPOINTS_MAX:
            self._endpoints[place] = (endpoint, encoded)
        return encoded

    def forget(self, node: str, instance_id: str) -> None:
        """The instance is gone."""
        self._endpoints.pop((node, instance_id), None)

    def clear(self) -> None:
        """Keeps nothing."""
        self._endpoints.clear()
        self._lists.clear()
        self._lists_bytes = 0

    def listed(self, asked: Filter, endpoints: Sequence[Endpoint], index: int, staleness: Staleness) -> bytes:
        """A ListInstancesResponse. The same endpoints are put together once."""
        kept = self._lists.get(asked)
        if kept is None or kept[0] is not endpoints:
            body = b"".join([_LISTED + self.endpoint(one) for one in endpoints if asked.takes(one)])
            self._keep(asked, endpoints, body)
        else:
            body = kept[1]
            self._lists.move_to_end(asked)
        freshness = freshness_message(index, staleness).SerializeToString()
        return body + _LISTED_FRESHNESS + varint(len(freshness)) + freshness

    def _keep(self, asked: Filter, endpoints: Sequence[Endpoint], body: bytes) -> None:
        before = self._lists.pop(asked, None)
        if before is not None:
            self._lists_bytes -= len(before[1])
        self._lists[asked] = (endpoints, body)
        self._lists_bytes += len(body)
        while self._lists_bytes > LISTS_BYTES_MAX and len(self._lists) > 1:
            self._lists_bytes -= len(self._lists.popitem(last=False)[1][1])

    def delta(
        self, changed: Iterable[Endpoint], removed: Iterable[tuple[str, str]], index: int, staleness: Staleness
    ) -> list[bytes]:
        """Changes as one or more WatchResponses; only the last one tells the index."""
        pieces = [_CHANGED + self.endpoint(one) for one in changed]
        for node, instance_id in removed:
            key = pb.WatchResponse.Key(node=node, id=instance_id).SerializeToString()
            pieces.append(_REMOVED + varint(len(key)) + key)
        return _parts(pieces, b"", index, staleness)

    def snapshot(self, endpoints: Iterable[Endpoint], index: int, staleness: Staleness) -> list[bytes]:
        """All that there is as one or more WatchResponses."""
        return _parts([_CHANGED + self.endpoint(one) for one in endpoints], _IS_SNAPSHOT, index, staleness)


def _parts(pieces: Sequence[bytes], head: bytes, index: int, staleness: Staleness) -> list[bytes]:
    parts: list[bytes] = []
    part, size = [head], 0
    for piece in pieces:
        if size and size + len(piece) > PART_BYTES_MAX:
            parts.append(b"".join(part))
            part, size = [], 0
        part.append(piece)
        size += len(piece)
    freshness = freshness_message(index, staleness).SerializeToString()
    part.append(_WATCH_FRESHNESS + varint(len(freshness)) + freshness)
    parts.append(b"".join(part))
    return parts
