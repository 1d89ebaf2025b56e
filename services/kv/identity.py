"""Who is who: the ids of members and of the cluster, and the members that the configuration names."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

ID_BYTES = 8


def cluster_id(token: str) -> int:
    """The cluster's id, from its token: 64 bits, never 0."""
    return _hash(b"cluster", token)


def member_id(token: str, name: str) -> int:
    """A member's id, from its name: 64 bits, never 0. It does not depend on addresses, which may change."""
    return _hash(b"member", token, name)


def _hash(kind: bytes, *parts: str) -> int:
    digest = blake2b(digest_size=ID_BYTES, person=kind)
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big") + data)
    return int.from_bytes(digest.digest(), "big") or 1


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the cluster, as configured."""

    id: int
    name: str
    peer_address: str
    """host:port"""

    @property
    def peer_url(self) -> str:
        """As etcd's clients expect it."""
        return f"http://{self.peer_address}"


@dataclass(frozen=True, slots=True)
class Identity:
    """This member, and those it knows."""

    cluster_id: int
    member: Member
    members: tuple[Member, ...]
    """All of them, this one included, in order of ids."""

    def by_id(self, number: int) -> Member | None:
        """The member of that id, or None."""
        return next((member for member in self.members if member.id == number), None)


def parse_members(token: str, entries: Sequence[str]) -> tuple[Member, ...]:
    """Members out of "name=host:port" entries, in order of ids. Raises ValueError that names the bad entry."""
    members: list[Member] = []
    for entry in entries:
        name, separator, address = entry.partition("=")
        host, colon, port = address.rpartition(":")
        if not (name and separator and host and colon and port.isdecimal() and 0 < int(port) < 1 << 16):
            raise ValueError(f'{entry!r} is not of the form "name=host:port"')
        members.append(Member(member_id(token, name), name, address))
    names = [member.name for member in members]
    if len(set(names)) != len(names):
        raise ValueError("two members have the same name")
    if len({member.id for member in members}) != len(members):
        raise ValueError("the ids of two members collide; choose another name or cluster token")
    return tuple(sorted(members, key=lambda member: member.id))


def identify(token: str, name: str, entries: Sequence[str]) -> Identity:
    """This member's identity. Raises ValueError when the configuration cannot be."""
    members = parse_members(token, entries)
    for member in members:
        if member.name == name:
            return Identity(cluster_id(token), member, members)
    raise ValueError(f"no entry of members names this node, {name!r}")
