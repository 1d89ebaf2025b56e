"""From bytes to bytes: a question and the catalogue to an answer. No I/O; shared by UDP and TCP."""

import logging

from runtime import Clock, Randomness
from services.registry.dns.codes import (
    CLASS_IN,
    ERROR_NOT_READY,
    ERROR_STALE_ANSWER,
    ERROR_STALE_NXDOMAIN,
    RCODE_BADVERS,
    RCODE_NXDOMAIN,
    RCODE_REFUSED,
    RCODE_SERVFAIL,
    TYPE_NAMES,
)
from services.registry.dns.config import DnsSection
from services.registry.dns.counting import DnsCounters, Drop, Protocol
from services.registry.dns.malformed import Malformed, Unanswerable
from services.registry.dns.plan import Plan
from services.registry.dns.planner import Planner
from services.registry.dns.query import QUERY_BYTES_MAX, Query, parse_query
from services.registry.dns.response import refuse_unread, respond, room_for
from services.registry.dns.selection import shuffled, weighted
from services.registry.interface import Catalogue, Topic, TopicKind

REST_FACTOR = 10
"""A plan that took t to make is good for 10 t, whatever changes meanwhile: a service of ten thousand instances of which
one flips with each question would otherwise leave no time for anything else."""
REST_ABOVE_S = 0.002
"""Plans that took less do not rest: whoever has registered an instance finds it with the next question."""
FAILURES_LOGGED_MAX = 100
"""Errors of ours that are written to the log; later ones are only counted, since anybody may ask a million times."""
RECORD_BYTES_MIN = 16
"""An A record. With the room it bounds how many records can fit."""

_ALL = Topic(TopicKind.ALL)

_log = logging.getLogger(__name__)


class _Kept:
    """A plan, and as of when it is known to hold."""

    __slots__ = ("domain_bytes", "index", "is_stale", "plan", "rests_until_s")

    def __init__(self, plan: Plan, domain_bytes: int, index: int, is_stale: bool, rests_until_s: float) -> None:
        self.plan = plan
        self.domain_bytes = domain_bytes
        self.index = index
        self.is_stale = is_stale
        self.rests_until_s = rests_until_s


class Responder:
    """Answers from one catalogue."""

    def __init__(
        self, catalogue: Catalogue, clock: Clock, random: Randomness, config: DnsSection, counters: DnsCounters
    ) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._random = random
        self._config = config
        self._counters = counters
        self._planner = Planner(catalogue, clock, config)
        self._kept: dict[tuple[bytes, int], _Kept] = {}

    def close(self) -> None:
        """Listens to the catalogue no more."""
        self._planner.close()

    def respond(self, data: bytes, protocol: Protocol) -> bytes | None:
        """The answer to a message; None when it gets none. Raises nothing: an error of ours is SERVFAIL."""
        started_s = self._clock.monotonic_s()
        counters = self._counters
        counters.bytes_received += len(data)
        record_type = 0
        try:
            query = parse_query(data)
            record_type = query.type
            response, rcode = self._answer(query, protocol)
        except Unanswerable:
            counters.dropped[Drop.UNANSWERABLE] += 1
            return None
        except Malformed as error:
            rcode = error.rcode
            response = refuse_unread(data, rcode)
        except Exception:  # noqa: BLE001  # it is logged and counted, and its sender is told
            # One question that cannot be answered must not end the server, nor be left to time out.
            counters.dropped[Drop.FAILED] += 1
            if counters.dropped[Drop.FAILED] <= FAILURES_LOGGED_MAX:
                _log.exception("a DNS question could not be answered: %s", data[:QUERY_BYTES_MAX].hex())
            rcode = RCODE_SERVFAIL
            response = refuse_unread(data, rcode)
        answers = counters.udp_answers if protocol is Protocol.UDP else counters.tcp_answers
        answers[record_type if record_type in TYPE_NAMES else 0, rcode] += 1
        counters.bytes_sent += len(response)
        counters.took(self._clock.monotonic_s() - started_s)
        return response

    def _answer(self, query: Query, protocol: Protocol) -> tuple[bytes, int]:
        is_udp = protocol is Protocol.UDP
        config = self._config
        room = room_for(query, is_udp, config.udp_bytes_max)
        edns = query.edns
        if edns is not None and edns.version:
            return self._plain(query, RCODE_BADVERS, room)
        if query.record_class != CLASS_IN:
            return self._plain(query, RCODE_REFUSED, room)
        catalogue = self._catalogue
        if not catalogue.is_ready:
            return self._plain(query, RCODE_SERVFAIL, room, ERROR_NOT_READY)
        is_stale = catalogue.staleness.is_stale
        plan, domain_bytes = self._plan_of(query, is_stale)
        rcode = plan.rcode
        choices = plan.choices
        if len(choices) > 1:
            # One more than can fit, so that it is noticed that something does not.
            count = room // RECORD_BYTES_MIN + 1
            if plan.may_be_partial and is_udp and edns is None and config.answers_without_edns_max:
                count = config.answers_without_edns_max
            if plan.weights:
                order = weighted(plan.weights, count, self._random)
            else:
                order = shuffled(len(choices), count, self._random)
            choices = [choices[place] for place in order]
            if plan.has_aliases:
                choices = choices[:1] if choices[0].is_alias else [one for one in choices if not one.is_alias]
        authority = b""
        if not choices and rcode != RCODE_REFUSED:
            name_bytes = len(query.name)
            authority = self._planner.soa(name_bytes, domain_bytes, is_stale=is_stale)
        extended_error = None
        if is_stale and rcode != RCODE_REFUSED:
            self._counters.stale += 1
            extended_error = ERROR_STALE_NXDOMAIN if rcode == RCODE_NXDOMAIN else ERROR_STALE_ANSWER
        response, is_cut = respond(
            query,
            rcode,
            choices,
            room=room,
            payload_bytes=config.udp_bytes_max,
            is_authoritative=plan.is_authoritative,
            authority=authority,
            extended_error=extended_error,
            # Over TCP there is nothing to fall back to.
            says_truncated=is_udp and config.truncate,
        )
        if is_cut and is_udp and config.truncate:
            self._counters.truncated += 1
        return response, rcode

    def _plain(self, query: Query, rcode: int, room: int, extended_error: int | None = None) -> tuple[bytes, int]:
        """An answer that says only why there is none."""
        response, _ = respond(
            query,
            rcode,
            room=room,
            payload_bytes=self._config.udp_bytes_max,
            is_authoritative=False,
            extended_error=extended_error,
        )
        return response, rcode

    def _plan_of(self, query: Query, is_stale: bool) -> tuple[Plan, int]:
        """The plan that is kept while it holds, or a new one; and the length of the name's domain."""
        key = (query.name, query.type)
        index = self._catalogue.index(_ALL)
        kept = self._kept.get(key)
        if kept is not None and kept.is_stale is is_stale:
            if kept.index == index:
                return kept.plan, kept.domain_bytes
            if self._clock.monotonic_s() < kept.rests_until_s:
                return kept.plan, kept.domain_bytes
            if self._planner.holds(kept.plan):
                kept.index = index
                return kept.plan, kept.domain_bytes
        started_s = self._clock.monotonic_s()
        self._counters.plans += 1
        plan, domain_bytes = self._planner.plan(query.name, query.type, is_stale=is_stale)
        if plan.is_kept:
            if len(self._kept) >= self._config.cached_answers_max:
                # Simpler than an order of use, and only reached when the catalogue is larger than the limit.
                self._kept.clear()
            made_s = self._clock.monotonic_s()
            took_s = made_s - started_s
            rests_until_s = made_s + REST_FACTOR * took_s if took_s > REST_ABOVE_S else 0.0
            self._kept[key] = _Kept(plan, domain_bytes, index, is_stale, rests_until_s)
        elif kept is not None:
            del self._kept[key]
        return plan, domain_bytes
