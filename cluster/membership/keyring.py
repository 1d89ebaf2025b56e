"""Keys that a cluster shares: AES-GCM over every packet (NIST SP 800-38D).

The primary key seals; every key opens. To change keys without a moment in which members do not understand each other:
`install` the new key on all members, then `use` it on all, then `remove` the old one from all.

A nonce is eight random bytes that last for 2**32 packets, and a counter. Random nonces alone would meet each other
after some 2**32 packets of all members together, which a thousand of them send in days.

Replayed packets open, too. They do no harm: old news are old news by their incarnation, and an ack nobody waits for is
dropped.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from runtime import Randomness

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEYS_MAX = 8
"""Keys at once: each packet that does not open costs a try with each."""
KEY_BYTES = (16, 24, 32)
"""AES-128, AES-192, AES-256."""
NONCE_BYTES = 12
TAG_BYTES = 16
SEAL_BYTES = NONCE_BYTES + TAG_BYTES
"""What sealing adds."""
_PREFIX_BYTES = 8
_COUNTER_END = 1 << 32


class WrongKey(Exception):
    """No key opens it: it was sealed by another one, or changed on its way, or meant for something else."""


class KeyRing:
    """At least one key, the primary one first."""

    def __init__(self, keys: Iterable[bytes], random: Randomness) -> None:
        """Raises ValueError for no key, too many, or one of a wrong length. Imports the library: 25 ms, 9 MiB."""
        self._random = random
        self._ciphers: dict[bytes, AESGCM] = {}
        for key in keys:
            self.install(key)
        if not self._ciphers:
            raise ValueError("a key ring needs a key")
        self._primary = next(iter(self._ciphers))
        self._prefix = random.bytes(_PREFIX_BYTES)
        self._counter = 0

    def __len__(self) -> int:
        return len(self._ciphers)

    @property
    def primary(self) -> bytes:
        """The key that seals."""
        return self._primary

    def install(self, key: bytes) -> None:
        """Opens by this key, too. Raises ValueError."""
        # Here and not above: most processes have no key, and must not pay for the library.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if len(key) not in KEY_BYTES:
            raise ValueError(f"a key must have 16, 24 or 32 bytes, not {len(key)}")
        if key in self._ciphers:
            return
        if len(self._ciphers) >= KEYS_MAX:
            raise ValueError(f"a key ring holds at most {KEYS_MAX} keys")
        self._ciphers[key] = AESGCM(key)

    def use(self, key: bytes) -> None:
        """Seals by this key from now on. Raises ValueError when it is not installed."""
        if key not in self._ciphers:
            raise ValueError("the key is not installed")
        self._primary = key
        # Most packets are sealed by it: it is tried first.
        self._ciphers = {key: self._ciphers[key], **self._ciphers}

    def remove(self, key: bytes) -> None:
        """Opens by this key no more. Raises ValueError for the primary one."""
        if key == self._primary:
            raise ValueError("the primary key cannot be removed")
        self._ciphers.pop(key, None)

    def seal(self, data: bytes, associated: bytes) -> bytes:
        """`nonce + ciphertext + tag`. `associated` is not in it, and must be the same to open it."""
        self._counter += 1
        if self._counter == _COUNTER_END:
            self._prefix = self._random.bytes(_PREFIX_BYTES)
            self._counter = 0
        nonce = self._prefix + self._counter.to_bytes(NONCE_BYTES - _PREFIX_BYTES, "big")
        return nonce + self._ciphers[self._primary].encrypt(nonce, data, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """The data. Raises WrongKey."""
        from cryptography.exceptions import InvalidTag

        if len(sealed) < SEAL_BYTES:
            raise WrongKey("cut short")
        nonce, body = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        for cipher in self._ciphers.values():
            try:
                return cipher.decrypt(nonce, body, associated)
            except InvalidTag:
                continue
        raise WrongKey("no key opens it")
