"""What is around every message: its version, whose cluster it is of, and proof that it came as it went.

    plain  = 1:u8 0:u8 crc32(label, channel, message):u32 message
    sealed = 1:u8 1:u8 nonce:12 ciphertext tag:16

A sealed one has version, channel and label as associated data: it opens only in its cluster, and a datagram cannot be
played as a stream's message. The checksum of a plain one guards against mistakes only, such as two clusters that meet
on one port, and against UDP's weak checksum; whoever wants protection sets a key.
"""

import zlib
from enum import Enum

from cluster.membership.keyring import SEAL_BYTES, KeyRing, WrongKey

VERSION = 1
PLAIN_BYTES = 6
"""What the envelope adds without a key."""
SEALED_BYTES = 2 + SEAL_BYTES
"""What it adds with one."""
LABEL_BYTES_MAX = 64
_PLAIN = bytes((VERSION, 0))
_SEALED = bytes((VERSION, 1))


class Channel(Enum):
    """How a message travels."""

    DATAGRAM = b"d"
    STREAM = b"s"


class Refusal(Enum):
    """Why an envelope was not opened."""

    SHORT = "short"
    VERSION = "version"
    CHECKSUM = "checksum"
    """Damaged, or another cluster's."""
    UNSEALED = "unsealed"
    """It must be sealed, and is not."""
    KEY = "key"
    """No key opens it; or it is sealed, and there is no key here."""


class Refused(Exception):
    """The envelope was not opened; what was in it is dropped."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Envelope:
    """Wraps and unwraps, for one cluster."""

    def __init__(
        self, label: str, ring: KeyRing | None = None, *, seal_outgoing: bool = True, refuse_unsealed: bool = True
    ) -> None:
        """`label` names the cluster. The two switches are for bringing keys to a cluster that runs without: first all
        get the key with both off, then `seal_outgoing` is set on all, then `refuse_unsealed`. Raises ValueError.
        """
        raw = label.encode()
        if len(raw) > LABEL_BYTES_MAX:
            raise ValueError(f"a label must have at most {LABEL_BYTES_MAX} bytes, not {len(raw)}")
        self.ring = ring
        self._seal = seal_outgoing and ring is not None
        self._refuse_unsealed = refuse_unsealed and ring is not None
        self._associated = {channel: _SEALED + channel.value + raw for channel in Channel}
        self._checksums = {channel: zlib.crc32(_PLAIN + channel.value + raw) for channel in Channel}

    @property
    def overhead_bytes(self) -> int:
        """What wrapping adds to a message."""
        return SEALED_BYTES if self._seal else PLAIN_BYTES

    def wrap(self, message: bytes, channel: Channel) -> bytes:
        """As it travels."""
        if self._seal and self.ring is not None:
            return _SEALED + self.ring.seal(message, self._associated[channel])
        return _PLAIN + zlib.crc32(message, self._checksums[channel]).to_bytes(4, "big") + message

    def unwrap(self, data: bytes, channel: Channel) -> bytes:
        """The message. Raises Refused; nothing else, whatever the bytes are."""
        if len(data) < PLAIN_BYTES:
            raise Refused(Refusal.SHORT)
        head = data[:2]
        if head == _SEALED:
            if self.ring is None:
                raise Refused(Refusal.KEY)
            try:
                return self.ring.open(data[2:], self._associated[channel])
            except WrongKey as error:
                raise Refused(Refusal.KEY) from error
        if head != _PLAIN:
            raise Refused(Refusal.VERSION)
        if self._refuse_unsealed:
            raise Refused(Refusal.UNSEALED)
        message = data[PLAIN_BYTES:]
        if zlib.crc32(message, self._checksums[channel]) != int.from_bytes(data[2:PLAIN_BYTES], "big"):
            raise Refused(Refusal.CHECKSUM)
        return message
