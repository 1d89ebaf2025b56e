"""The query of a request, read as Consul reads it.

`dc` must be ours; `ns` and `partition` are refused in the words of Consul's free edition; `near`, `token`, `cached` and
`merge-central-config` are taken and change nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from services.registry.api.consul.durations import parse_duration
from services.registry.api.consul.refusals import Refused

FIELDS_MAX = 64
"""Parameters of one request."""
INDEX_MAX = 2**64 - 1

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Query:
    """What stands behind the question mark."""

    def __init__(self, text: str) -> None:
        """Raises Refused (400)."""
        try:
            values = parse_qs(text, keep_blank_values=True, max_num_fields=FIELDS_MAX) if text else {}
        except ValueError:
            raise Refused(400, f"more than {FIELDS_MAX} query parameters") from None
        self._values: Mapping[str, Sequence[str]] = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str) -> str:
        """The first value; empty without one."""
        values = self._values.get(name)
        return values[0] if values else ""

    def all(self, name: str) -> tuple[str, ...]:
        """All values."""
        return tuple(self._values.get(name, ()))

    def flag(self, name: str) -> bool:
        """Whether it is there without a value, or with a true one. Raises Refused (400)."""
        if name not in self:
            return False
        text = self.get(name)
        value = True if not text else parse_bool(text)
        if value is None:
            raise Refused(400, f"Invalid value for ?{name}")
        return value

    @property
    def node_metadata(self) -> tuple[tuple[str, str], ...]:
        """What `node-meta=key:value` asks of nodes."""
        pairs = (text.partition(":") for text in self.all("node-meta"))
        return tuple((key, value) for key, _, value in pairs)


def parse_bool(text: str) -> bool | None:
    """As Go's strconv.ParseBool; None for what is neither."""
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a read is to be answered."""

    index: int
    """Answer when the index is above this; 0: at once."""
    wait_ns: int
    """0: the default."""
    stale: bool
    consistent: bool
    stale_ms_max: int
    """How old an answer may be; 0: any age."""


def read_options(query: Query, datacenter: str) -> ReadOptions:
    """The parameters that all reads have. Raises Refused."""
    check_tenancy(query)
    check_datacenter(query.get("datacenter") or query.get("dc"), datacenter)
    stale, consistent, stale_ms_max = "stale" in query, "consistent" in query, 0
    if query.get("max_stale"):
        try:
            stale_ms_max = max(0, parse_duration(query.get("max_stale")) // 1_000_000)
        except ValueError:
            raise Refused(400, f'Invalid max_stale value "{query.get("max_stale")}"') from None
        stale = stale or stale_ms_max > 0
    if stale and consistent:
        raise Refused(400, "Cannot specify ?stale with ?consistent, conflicting semantics.")
    wait_ns = 0
    if query.get("wait"):
        try:
            wait_ns = parse_duration(query.get("wait"))
        except ValueError:
            raise Refused(400, "Invalid wait time") from None
    text = query.get("index") or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= INDEX_MAX):
        raise Refused(400, "Invalid index")
    return ReadOptions(int(text), wait_ns, stale, consistent, stale_ms_max)


def check_tenancy(query: Query) -> None:
    """Raises Refused (400) for what only Consul Enterprise has."""
    if query.get("ns"):
        raise Refused(400, 'Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature')
    if query.get("partition"):
        raise Refused(400, 'Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature')


def check_datacenter(asked: str, ours: str) -> None:
    """Raises Refused (500) for another datacenter. Names are equal whatever their case, as in Consul."""
    if asked and asked.lower() != ours.lower():
        raise Refused(500, "No path to datacenter")
