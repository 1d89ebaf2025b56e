"""A catalogue to fill, a clock to turn, and questions asked and read by dnspython: somebody else's idea of DNS."""

import random
from collections.abc import Mapping

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from runtime.sim import SeededRandomness
from services.registry.catalogue import CheckRecord, Key, KeyKind, MemoryCatalogue, Record, Update
from services.registry.dns.config import DnsSection
from services.registry.dns.counting import DnsCounters, Protocol
from services.registry.dns.responder import Responder
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health, Instance, Node, Weights


class TurnedClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def wall_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


class Book:
    """A registry's content, and a responder over it."""

    def __init__(self, config: DnsSection | None = None, *, ready: bool = True) -> None:
        self.clock = TurnedClock()
        self.catalogue = MemoryCatalogue(self.clock)
        self.config = config or DnsSection()
        self.counters = DnsCounters()
        self.random = SeededRandomness(random.Random(7))
        self.responder = Responder(self.catalogue, self.clock, self.random, self.config, self.counters)
        self.revision = 1
        if ready:
            self.catalogue.reset((), self.revision)

    def put(self, key: Key, value: Record | None) -> None:
        self.revision += 1
        self.catalogue.apply([Update(key, value, self.revision)], self.revision)

    def node(self, name: str, address: str, metadata: Mapping[str, str] | None = None) -> None:
        self.put(Key(KeyKind.NODE, name), Node(name, address, dict(metadata or {})))

    def instance(
        self,
        node: str,
        service: str,
        address: str = "",
        port: int = 80,
        *,
        name: str = "",
        tags: tuple[str, ...] = (),
        weights: Weights | None = None,
    ) -> None:
        identity = name or service
        instance = Instance(node, identity, service, address, port, tags, {}, weights or Weights())
        self.put(Key(KeyKind.INSTANCE, node, identity), instance)

    def remove(self, node: str, name: str) -> None:
        self.put(Key(KeyKind.INSTANCE, node, name), None)

    def health(self, node: str, name: str, health: Health) -> None:
        definition = CheckDefinition(f"check:{name}", "check", CheckKind.TTL, name)
        self.put(Key(KeyKind.CHECK, node, definition.id), CheckRecord(definition, CheckState(health)))

    def heard(self) -> None:
        self.catalogue.heard()

    # Questions

    def bytes_for(self, query: dns.message.Message, protocol: Protocol = Protocol.UDP) -> bytes:
        response = self.responder.respond(query.to_wire(), protocol)
        assert response is not None
        return response

    def ask(
        self,
        name: str,
        record_type: str = "A",
        *,
        edns: bool = True,
        payload: int = 1232,
        protocol: Protocol = Protocol.UDP,
    ) -> dns.message.Message:
        query = dns.message.make_query(name, record_type, use_edns=0 if edns else -1, payload=payload)
        response = dns.message.from_wire(self.bytes_for(query, protocol), one_rr_per_rrset=False)
        assert query.is_response(response)
        return response


def texts(response: dns.message.Message) -> list[str]:
    """The answers' data, in order."""
    return [item.to_text() for rrset in response.answer for item in rrset]


def rcode(response: dns.message.Message) -> str:
    return dns.rcode.to_text(response.rcode())


def is_truncated(response: dns.message.Message) -> bool:
    return bool(response.flags & dns.flags.TC)
