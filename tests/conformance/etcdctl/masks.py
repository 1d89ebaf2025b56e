"""What is hidden before two outputs are compared, and why it has to be.

A mask hides as little as it can: an id that the server made up is replaced by the name that the script gave it, so
that a wrong id is still seen. Everything that no mask names is compared byte for byte.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

ALWAYS: tuple[tuple[str, str], ...] = (
    # The client stamps its own log lines with the time of day,
    (r'"ts":"[^"]*"', '"ts":"<time>"'),
    # and makes up an id for every balancer it creates.
    (r"endpoint://client-[0-9a-f-]{36}/", "endpoint://client-<id>/"),
    # How many elections a cluster needed before it had a leader is chance.
    (r'"raft_term":\d+', '"raft_term":<term>'),
    (r'"RaftTerm" : \d+', '"RaftTerm" : <term>'),
    # Which of three members answers is the client's choice, made at random; that it is a member is checked.
    (r'"member_id":<member kv-\d>', '"member_id":<member>'),
    (r'"MemberID" : <member kv-\d>', '"MemberID" : <member>'),
)
"""Applied to every output, after ids and addresses have been named."""

OPTIONAL: dict[str, tuple[tuple[str, str], ...]] = {
    # How long a probe took.
    "took": ((r"took = [\d.]+(?:ns|µs|ms|s)", "took = <time>"), (r'"took":"[^"]*"', '"took":"<time>"')),
    # Seconds left of a lease depend on when one asks. The granted time is compared.
    "remaining": (
        (r"remaining\(\d+s\)", "remaining(<time>)"),
        (r'"ttl":\d+', '"ttl":<time>'),
        (r'"TTL" : \d+', '"TTL" : <time>'),
    ),
    # Which member leads is chance; with `order` the rows are sorted, so that the number of leaders is compared.
    "address": ((r"<client kv-\d>", "<client>"),),
    # Size, version, term and index of `endpoint status`. Sizes are the engine's own matter; the version is the
    # server's own; an index counts elections and membership entries, too.
    "status": (
        (r"\d+(?:\.\d+)? [kM]?B", "<size>"),
        (r"\b3\.\d+\.\d+\b", "<version>"),
        (r"(true|false), (true|false), \d+, \d+, \d+,", r"\1, \2, <term>, <index>, <index>,"),
        (r"(true|false) \| +(true|false) \| +\d+ \| +\d+ \| +\d+ \|", r"\1 | \2 | <term> | <index> | <index> |"),
        (r'"(dbSize|dbSizeInUse|raftIndex|raftAppliedIndex|raftTerm)":\d+', r'"\1":<number>'),
        (r'"(DBSize|RaftIndex|RaftAppliedIndex)" : \d+', r'"\1" : <number>'),
        (r'"leader":<member kv-\d>', '"leader":<member>'),
        (r'"Leader" : <member kv-\d>', '"Leader" : <member>'),
        (r"<member kv-\d>", "<member>"),
    ),
    # Column widths follow the width of what is masked.
    "table": ((r"-{3,}", "---"), (r" {2,}", " ")),
    # The client counts its attempts, which depends on which member it dialled first.
    "attempt": ((r'"attempt":\d+', '"attempt":<n>'),),
}
"""Applied only in the steps that name them."""


@dataclass(frozen=True)
class Names:
    """What is called what in one cluster."""

    ids: Mapping[int, str]
    """Cluster, member and lease ids, and the names they are shown by."""
    addresses: Mapping[str, str]
    """`host:port`, and the name it is shown by."""


def mask(text: str, names: Names, optional: list[str], order: str) -> str:
    """Returns the comparable form of one output."""
    for address, name in names.addresses.items():
        text = re.sub(re.escape(address) + r"\b", f"<{name}>", text)
    for number, name in names.ids.items():
        # etcdctl prints ids as hexadecimal, padded (leases) or not (members), and as decimal in JSON and fields.
        for form in (f"{number:016x}", f"{number:x}", str(number)):
            text = re.sub(rf"(?<![0-9a-zA-Z]){form}(?![0-9a-zA-Z])", f"<{name}>", text)
    for pattern, replacement in ALWAYS:
        text = re.sub(pattern, replacement, text)
    for name in optional:
        for pattern, replacement in OPTIONAL[name]:
            text = re.sub(pattern, replacement, text)
    return ordered(text, order)


def ordered(text: str, order: str) -> str:
    """Sorts what the server lists in the order of random ids, or the client in the order of arrival."""
    match order:
        case "":
            return text
        case "lines":
            return "".join(sorted(text.splitlines(keepends=True)))
        case "blocks":
            head, *blocks = re.split(r'(?m)^(?="ID" : )', text)
            return head + "".join(sorted(blocks))
        case "members":
            # The masked form is no JSON (`<name>` is not quoted), so the list is cut by its braces.
            before, bracket, rest = text.partition('"members":[')
            listed, end, after = rest.rpartition("]}")
            members = re.findall(r"\{.*?\}", listed)
            if ",".join(members) != listed:
                return text
            return before + bracket + ",".join(sorted(members)) + end + after
        case _:
            raise ValueError(f"no such order: {order!r}")


def members(listing: str) -> tuple[int, dict[str, int]]:
    """Reads `etcdctl member list -w json`: the cluster's id, and every member's id by its name."""
    answer = json.loads(listing)
    return int(answer["header"]["cluster_id"]), {str(m["name"]): int(m["ID"]) for m in answer["members"]}
