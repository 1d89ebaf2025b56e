"""Keys: the primary one seals, all open, and they can be changed without a gap."""

import random
import subprocess
import sys

import pytest

from cluster.membership import keyring
from cluster.membership.keyring import SEAL_BYTES, KeyRing, WrongKey
from runtime.sim import SeededRandomness

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 16


def make(*keys: bytes, seed: int = 1) -> KeyRing:
    return KeyRing(keys, SeededRandomness(random.Random(seed)))


def test_what_is_sealed_opens_with_the_same_key_and_words_beside_it() -> None:
    sealed = make(OLD).seal(b"message", b"beside")
    assert len(sealed) == len(b"message") + SEAL_BYTES
    assert b"message" not in sealed
    assert make(OLD, seed=2).open(sealed, b"beside") == b"message"
    with pytest.raises(WrongKey):
        make(OLD).open(sealed, b"besides")
    with pytest.raises(WrongKey):
        make(OTHER).open(sealed, b"beside")
    for at in range(len(sealed)):
        with pytest.raises(WrongKey):
            make(OLD).open(sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :], b"beside")
        with pytest.raises(WrongKey):
            make(OLD).open(sealed[:at], b"beside")


def test_keys_are_changed_without_a_gap() -> None:
    members = [make(OLD, seed=seed) for seed in range(3)]

    def all_understand_each_other() -> bool:
        return all(other.open(one.seal(b"x", b""), b"") == b"x" for one in members for other in members)

    for step, key in ((KeyRing.install, NEW), (KeyRing.use, NEW), (KeyRing.remove, OLD)):
        for member in members:
            step(member, key)
            assert all_understand_each_other()
    assert [member.primary for member in members] == [NEW] * 3
    with pytest.raises(WrongKey):
        members[0].open(make(OLD).seal(b"x", b""), b"")


def test_what_cannot_be_is_refused() -> None:
    for keys in ((), (b"short",), tuple(bytes((number,)) * 16 for number in range(9))):
        with pytest.raises(ValueError):
            make(*keys)
    ring = make(OLD)
    with pytest.raises(ValueError, match="not installed"):
        ring.use(NEW)
    with pytest.raises(ValueError, match="primary"):
        ring.remove(OLD)
    ring.install(OLD)
    ring.remove(NEW)
    assert len(ring) == 1


def test_no_nonce_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_COUNTER_END", 5)
    ring = make(OLD)
    nonces = [ring.seal(b"", b"")[:12] for _ in range(23)]
    assert len(set(nonces)) == 23
    assert len({nonce[:8] for nonce in nonces}) == 5, "a new random part each time that the counter is used up"


def test_without_a_key_the_library_is_not_imported() -> None:
    script = "import sys, cluster.membership.driver; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
