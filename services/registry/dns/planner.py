"""Says what the catalogue answers to a name and a type. Reads only; waits for nothing."""

from collections.abc import Sequence
from ipaddress import ip_address

from cluster.http.address import split_address
from runtime import Clock
from services.registry.dns import records
from services.registry.dns.codes import (
    ADDRESS_TYPES,
    HEADER_BYTES,
    RCODE_NOERROR,
    TRANSFER_TYPES,
    TYPE_A,
    TYPE_AAAA,
    TYPE_ANY,
    TYPE_CNAME,
    TYPE_NS,
    TYPE_PTR,
    TYPE_SOA,
    TYPE_SRV,
    TYPE_TXT,
)
from services.registry.dns.config import DnsSection
from services.registry.dns.folding import Folding, fold
from services.registry.dns.instances import Suffixes, added_up, by_address, by_port, hosts
from services.registry.dns.name import parse_text
from services.registry.dns.naming import (
    AddressName,
    Apex,
    Between,
    Foreign,
    Naming,
    NodeName,
    Nothing,
    ReverseName,
    ServerName,
    ServiceName,
    Wanted,
)
from services.registry.dns.plan import EMPTY, NAME_ERROR, REFUSAL, Choice, Dependencies, Plan
from services.registry.dns.records import QUESTION_POINTER, TARGET_AT, pointer_to
from services.registry.dns.reverse import ReverseTable
from services.registry.dns.targets import node_name, parse_host, parse_ip
from services.registry.domain import Health, Node
from services.registry.interface import Catalogue, Endpoint, Topic, TopicKind

FOLLOWED_MAX = 8
"""Addresses that are sent along with an alias to a name of our own: the first ones of a larger service."""
VALUE_ONLY_PREFIX = "rfc1035-"
"""Metadata under such keys is sent without its key, as Consul does: TXT records for somebody else to read."""
TEXTS_MAX = 64
"""TXT records of one node."""

REFRESH_S, RETRY_S, EXPIRE_S = 3600, 600, 86_400
"""Of the SOA record; nobody transfers the zone, so nobody uses them."""

_ALL = Topic(TopicKind.ALL)
_SERVER = b"\x02ns"
_MAILBOX = b"\x0ahostmaster"
_SIZES = {TYPE_A: 4, TYPE_AAAA: 16}


class Planner:
    """Over one catalogue and one configuration."""

    def __init__(self, catalogue: Catalogue, clock: Clock, config: DnsSection) -> None:
        self._catalogue = catalogue
        self._config = config
        self._naming = Naming(tuple(parse_text(domain).lower() for domain in config.domains), config.datacenter)
        self._folding = Folding(catalogue)
        self._reverse = ReverseTable(catalogue, clock)
        self._datacenter = parse_text(fold(config.datacenter))[:-1]
        self._server_ips = _server_ips(config)

    def close(self) -> None:
        """Listens to the catalogue no more."""
        self._folding.close()

    def plan(self, name: bytes, record_type: int, *, is_stale: bool) -> tuple[Plan, int]:
        """The answer for `name` (on the wire, lower case), and the length of its domain on the wire."""
        wanted, domain_bytes = self._naming.read(name)
        if record_type in TRANSFER_TYPES:
            return REFUSAL, domain_bytes
        domain = name[len(name) - domain_bytes :]
        return self._plan(wanted, name, domain, record_type, is_stale=is_stale, follow=True), domain_bytes

    def holds(self, plan: Plan) -> bool:
        """Whether a plan is still what `plan` would return. O(its dependencies)."""
        index = self._catalogue.index
        return plan.folding == self._folding.generation and all(
            index(topic) == known for topic, known in plan.dependencies
        )

    def soa(self, name_bytes: int, domain_bytes: int, *, is_stale: bool) -> bytes:
        """The SOA record of a domain, for a question whose name has `name_bytes` and ends in that domain."""
        # RFC 2308, section 3: its TTL is the time for which a negative answer may be cached, and so is its minimum.
        ttl_s = self._ttl(self._config.negative_ttl_s, is_stale)
        domain = pointer_to(HEADER_BYTES + name_bytes - domain_bytes)
        timers = (self._catalogue.index(_ALL) & 0xFFFF_FFFF, REFRESH_S, RETRY_S, EXPIRE_S, ttl_s)
        return domain + records.soa(_SERVER + domain, _MAILBOX + domain, timers, ttl_s)

    def _ttl(self, ttl_s: int, is_stale: bool) -> int:
        return min(ttl_s, self._config.stale_ttl_s) if is_stale else ttl_s

    def _plan(
        self, wanted: Wanted, name: bytes, domain: bytes, record_type: int, *, is_stale: bool, follow: bool
    ) -> Plan:
        node_ttl_s = self._ttl(self._config.node_ttl_s, is_stale)
        match wanted:
            case ServiceName():
                return self._service(wanted, name, domain, record_type, is_stale=is_stale, follow=follow)
            case NodeName(node):
                return self._node(node, name, record_type, node_ttl_s, is_stale=is_stale, follow=follow)
            case AddressName(ip):
                return Plan(RCODE_NOERROR, _own_addresses((ip.packed,), record_type, node_ttl_s))
            case ServerName():
                return Plan(RCODE_NOERROR, _own_addresses(self._server_ips, record_type, node_ttl_s))
            case Apex():
                return self._apex(name, record_type, node_ttl_s, is_stale=is_stale)
            case ReverseName(ip):
                return self._pointers(ip.packed, record_type, node_ttl_s)
            case Between():
                return EMPTY
            case Nothing():
                return NAME_ERROR
            case Foreign():
                return REFUSAL

    # Services

    def _service(
        self, wanted: ServiceName, name: bytes, domain: bytes, record_type: int, *, is_stale: bool, follow: bool
    ) -> Plan:
        names = self._folding.services(wanted.service)
        index = self._catalogue.index
        dependencies: Dependencies = tuple(
            (topic, index(topic)) for topic in (Topic(TopicKind.SERVICE, service) for service in names)
        )
        healthy = [one for service in names for one in self._catalogue.endpoints(service) if self._ok(one)]
        endpoints = [one for one in healthy if _has_tag(one, wanted.tag)] if wanted.tag else healthy
        if not endpoints:
            return EMPTY if _is_between(wanted, healthy) else NAME_ERROR
        ttl_s = self._ttl(min(map(self._config.ttl_of_service_s, names)), is_stale)
        choices: Sequence[Choice] = ()
        has_aliases = False
        if record_type == TYPE_SRV:
            choices = by_port(endpoints, self._suffixes(domain), ttl_s)
        elif record_type in ADDRESS_TYPES:
            choices = by_address(endpoints, _SIZES[record_type], ttl_s)
        elif record_type == TYPE_ANY:
            # RFC 8482, section 4.1: one of the sets that there are.
            choices = by_address(endpoints, 4, ttl_s) or by_address(endpoints, 16, ttl_s)
        if record_type in (TYPE_A, TYPE_AAAA, TYPE_CNAME) or (record_type == TYPE_ANY and not choices):
            aliases = [
                self._alias(host, weight, name, record_type, ttl_s, is_stale=is_stale, follow=follow)
                for host, weight in hosts(endpoints).items()
                if host.lower() != name
            ]
            has_aliases = bool(aliases)
            if aliases:
                choices = [*choices, *aliases]
            if any(self._is_ours(choice.record[choice.target_at :]) for choice in aliases):
                # What it leads to changes by itself.
                dependencies = ((_ALL, index(_ALL)),)
        return Plan(
            RCODE_NOERROR,
            choices,
            may_be_partial=True,
            has_aliases=has_aliases,
            weights=added_up(choices),
            dependencies=dependencies,
            folding=self._folding.generation,
            is_kept=True,
        )

    def _ok(self, endpoint: Endpoint) -> bool:
        health = endpoint.health
        return health is Health.PASSING or (health is Health.WARNING and not self._config.only_passing)

    def _suffixes(self, domain: bytes) -> Suffixes:
        rest = self._datacenter + domain
        return Suffixes(node=b"\x04node" + rest, address=b"\x04addr" + rest)

    def _is_ours(self, host: bytes) -> bool:
        return not isinstance(self._naming.read(host.lower())[0], Foreign)

    def _alias(
        self, host: bytes, weight: int, name: bytes, record_type: int, ttl_s: int, *, is_stale: bool, follow: bool
    ) -> Choice:
        """A CNAME, with the addresses of its target when that is one of our names (RFC 1034, section 4.3.2)."""
        following: tuple[bytes, ...] = ()
        if follow and record_type in ADDRESS_TYPES:
            target = host.lower()
            wanted, domain_bytes = self._naming.read(target)
            if isinstance(wanted, ServiceName | NodeName | AddressName | ServerName):
                domain = target[len(target) - domain_bytes :]
                plan = self._plan(wanted, target, domain, record_type, is_stale=is_stale, follow=False)
                targets = plan.choices[:FOLLOWED_MAX]
                following = tuple(one.record[len(QUESTION_POINTER) :] for one in targets if not one.is_alias)
        return Choice(
            QUESTION_POINTER + records.cname(host, ttl_s),
            weight,
            len(QUESTION_POINTER) + TARGET_AT,
            following=following,
            is_alias=True,
        )

    # Nodes

    def _node(self, folded: str, name: bytes, record_type: int, ttl_s: int, *, is_stale: bool, follow: bool) -> Plan:
        real = self._folding.node(folded)
        view = self._catalogue.node(real) if real is not None else None
        if real is None or view is None:
            return EMPTY if self._folding.is_parent_of_node(folded) else NAME_ERROR
        node = view.node
        index = self._catalogue.index
        dependencies: Dependencies = tuple(
            (topic, index(topic)) for topic in (Topic(TopicKind.NODE, real), Topic(TopicKind.NODE, folded))
        )
        ip, host = parse_ip(node.address), parse_host(node.address)
        choices: tuple[Choice, ...] = ()
        has_aliases = False
        if record_type == TYPE_TXT:
            choices = _texts(node, ttl_s)
        elif ip is not None:
            choices = _own_addresses((ip,), record_type, ttl_s)
        elif host is not None and host.lower() != name and record_type in (TYPE_A, TYPE_AAAA, TYPE_CNAME, TYPE_ANY):
            choices = (self._alias(host, 1, name, record_type, ttl_s, is_stale=is_stale, follow=follow),)
            has_aliases = True
            if self._is_ours(host):
                dependencies = ((_ALL, index(_ALL)),)
        return Plan(
            RCODE_NOERROR,
            choices,
            has_aliases=has_aliases,
            dependencies=dependencies,
            folding=self._folding.generation,
            is_kept=True,
        )

    # The rest

    def _apex(self, name: bytes, record_type: int, ttl_s: int, *, is_stale: bool) -> Plan:
        if record_type in (TYPE_SOA, TYPE_ANY):
            return Plan(RCODE_NOERROR, (Choice(self.soa(len(name), len(name), is_stale=is_stale)),))
        if record_type == TYPE_NS:
            record = QUESTION_POINTER + records.ns(_SERVER + QUESTION_POINTER, ttl_s)
            addresses = tuple(records.address(ip, ttl_s) for ip in self._server_ips)
            at = len(QUESTION_POINTER) + TARGET_AT
            return Plan(RCODE_NOERROR, (Choice(record, target_at=at, additional=addresses),))
        return EMPTY

    def _pointers(self, packed: bytes, record_type: int, ttl_s: int) -> Plan:
        """Of others' addresses nothing is said: whoever forwards all reverse questions here asks the next one then."""
        names = self._reverse.names(packed)
        if not names:
            return REFUSAL
        if record_type not in (TYPE_PTR, TYPE_ANY):
            return REFUSAL
        domain = parse_text(self._config.domains[0])
        suffixes = {"node": b"\x04node" + self._datacenter + domain, "service": b"\x07service" + domain}
        targets = [node_name(name, suffixes[kind]) for kind, name in names]
        choices = [Choice(QUESTION_POINTER + records.ptr(target, ttl_s)) for target in targets if target is not None]
        return Plan(RCODE_NOERROR, choices) if choices else REFUSAL


def _own_addresses(ips: tuple[bytes, ...], record_type: int, ttl_s: int) -> tuple[Choice, ...]:
    """The addresses among `ips` that are asked for."""
    if record_type == TYPE_ANY and ips:
        size = len(ips[0])
    elif record_type in _SIZES:
        size = _SIZES[record_type]
    else:
        return ()
    return tuple(Choice(QUESTION_POINTER + records.address(ip, ttl_s)) for ip in ips if len(ip) == size)


def _texts(node: Node, ttl_s: int) -> tuple[Choice, ...]:
    """A TXT record for each piece of a node's metadata, by key."""
    return tuple(
        Choice(QUESTION_POINTER + records.txt(value if key.startswith(VALUE_ONLY_PREFIX) else f"{key}={value}", ttl_s))
        for key, value in sorted(node.metadata.items())[:TEXTS_MAX]
    )


def _has_tag(endpoint: Endpoint, tag: str) -> bool:
    return any(fold(own) == tag for own in endpoint.instance.tags)


def _is_between(wanted: ServiceName, healthy: list[Endpoint]) -> bool:
    """Whether there are names beneath this one: of tags with dots, and of services in the form of RFC 2782."""
    if not wanted.tag:
        return wanted.service.startswith("_")
    end = f".{wanted.tag}"
    return any(fold(tag).endswith(end) for endpoint in healthy for tag in endpoint.instance.tags)


def _server_ips(config: DnsSection) -> tuple[bytes, ...]:
    """Where the domain's name server is said to be."""
    texts = config.addresses or [split_address(address)[0] for address in config.listen]
    return tuple(dict.fromkeys(ip.packed for ip in map(ip_address, texts) if not ip.is_unspecified))
