"""At most once: which commands were applied already.

Every command travels in an envelope: who proposed it (member id), in which life of that member (incarnation), its
number in that life, and the lowest number whose outcome that member still waits for. A command that is proposed again
under the same number, because its first proposal may have been lost with a leader, is applied once: the table here
knows the numbers that were applied. It is part of the replicated state: all replicas have the same table at the same
log index, and it travels in snapshots.

It stays small without any clock. Numbers below the lowest outstanding one can never count again; a newer incarnation
of a member replaces the older, whose late commands are ignored from then on, as nobody waits for them any more.
(Compare Ongaro, "Consensus: Bridging Theory and Practice", section 6.3, where a clock decides when sessions expire.)
"""

import struct
from typing import NamedTuple

ENVELOPE = struct.Struct("<BQQQQ")
"""Version, origin, incarnation, sequence, lowest outstanding sequence; the command follows."""
ENVELOPE_BYTES = ENVELOPE.size
ENVELOPE_VERSION = 1

_TABLE = struct.Struct("<8sI")
_SESSION = struct.Struct("<QQQI")
_MAGIC = b"ORRYSESS"
SESSIONS_MAX = 1 << 16
"""The most members that a snapshot's table may name."""
SEQUENCES_MAX = 1 << 24
"""The most applied numbers of one member that a snapshot's table may hold."""


class Envelope(NamedTuple):
    """What identifies a command."""

    origin: int
    incarnation: int
    sequence: int
    lowest: int


class _Session:
    """What is known of one member's present life."""

    __slots__ = ("applied", "incarnation", "lowest")

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self.lowest = 0
        self.applied: set[int] = set()
        """Numbers from `lowest` on that were applied."""


class SessionTable:
    """The applied numbers of every member."""

    def __init__(self) -> None:
        self._sessions: dict[int, _Session] = {}

    def admit(self, origin: int, incarnation: int, sequence: int, lowest: int) -> bool:
        """Whether this command is to be applied now; if so, it counts as applied from now on."""
        session = self._sessions.get(origin)
        if session is None or incarnation > session.incarnation:
            session = self._sessions[origin] = _Session(incarnation)
        elif incarnation < session.incarnation:
            return False
        applied = session.applied
        if lowest > session.lowest:
            if lowest - session.lowest <= len(applied):
                for number in range(session.lowest, lowest):
                    applied.discard(number)
            else:
                applied = session.applied = {number for number in applied if number >= lowest}
            session.lowest = lowest
        if sequence < session.lowest or sequence in applied:
            return False
        applied.add(sequence)
        return True

    def applied(self, origin: int, incarnation: int, sequence: int) -> bool:
        """Whether this command counts as applied."""
        session = self._sessions.get(origin)
        if session is None or incarnation != session.incarnation:
            return session is not None and incarnation < session.incarnation
        return sequence < session.lowest or sequence in session.applied

    def incarnation(self, origin: int) -> int:
        """The greatest life of a member of which a command was applied; 0 for none."""
        session = self._sessions.get(origin)
        return 0 if session is None else session.incarnation

    def encode(self) -> bytes:
        """The table as bytes, the same on all replicas."""
        parts = [_TABLE.pack(_MAGIC, len(self._sessions))]
        for origin in sorted(self._sessions):
            session = self._sessions[origin]
            numbers = sorted(session.applied)
            parts.append(_SESSION.pack(origin, session.incarnation, session.lowest, len(numbers)))
            parts.append(struct.pack(f"<{len(numbers)}Q", *numbers))
        return b"".join(parts)

    @staticmethod
    def decode(data: bytes) -> "SessionTable":
        """Raises ValueError when the bytes are not a table."""
        table = SessionTable()
        try:
            magic, count = _TABLE.unpack_from(data)
            if magic != _MAGIC or count > SESSIONS_MAX:
                raise ValueError("not a session table")
            at = _TABLE.size
            for _ in range(count):
                origin, incarnation, lowest, applied = _SESSION.unpack_from(data, at)
                if applied > SEQUENCES_MAX:
                    raise ValueError(f"{applied} numbers of one member")
                at += _SESSION.size
                session = table._sessions[origin] = _Session(incarnation)
                session.lowest = lowest
                session.applied = set(struct.unpack_from(f"<{applied}Q", data, at))
                at += 8 * applied
        except struct.error as error:
            raise ValueError("the session table is cut short") from error
        if at != len(data):
            raise ValueError("bytes after the session table")
        return table
