"""A Bloom filter whose every key lives in one 64-bit word: one memory access and one comparison a lookup.

Theory of operation: a classic filter with m bits for n keys is best with k = (m / n) ln 2 probes, and then errs with
p = 0.6185 ** (m / n); each probe is a step of Python, and a cache miss. Here a key's hash picks one word and one of
4096 ready masks of k = 5 bits, so a lookup is `words[hash % len(words)] & mask == mask` (Putze, Sanders, Singler,
"Cache-, Hash- and Space-Efficient Bloom Filters", JEA 2009, section 3; Lang et al., "Performance-Optimal Filtering",
VLDB 2019). The price is that words fill unevenly: with 12 bits a key one lookup in 92 errs (classic: one in 320), with
16 one in 210. Five bits are the best k from 10 to 14 bits a key, and within a tenth of it from 8 to 16.

Hashes must be uniform over 64 bits and the same in every process, which Python's own `hash` of bytes is not. Adding and
looking up are O(1); memory is 8 bytes a word. Which words and masks a hash picks is a file format: it never changes.
"""

import sys
from array import array
from collections.abc import Iterable
from functools import cache

BITS_PER_MASK = 5
MASKS = 4096
MASK_SHIFT = 52
"""The upper 12 bits of a hash pick the mask."""
_WORD_BITS = 64
_WORD_BYTES = 8
_STEP = 0x9E3779B97F4A7C15
_U64 = 0xFFFFFFFFFFFFFFFF


@cache
def masks() -> list[int]:
    """The masks that hashes pick from. Made when first asked for, in about 5 ms."""
    made: list[int] = []
    state = 0
    for _ in range(MASKS):
        mask = 0
        while mask.bit_count() < BITS_PER_MASK:
            # SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
            state = state + _STEP & _U64
            bits = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _U64
            bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _U64
            mask |= 1 << (bits >> 58)
        made.append(mask)
    return made


class BlockedBloomBuilder:
    """Gathers the keys of a filter."""

    __slots__ = ("_words",)

    def __init__(self, keys: int, bits_per_key: int) -> None:
        """A filter for about so many keys, of `bits_per_key` bits for each."""
        # An array, since a list would have an object of its own for each word: measured, a third slower.
        self._words = array("Q", bytes(_WORD_BYTES * max(1, -(-keys * bits_per_key // _WORD_BITS))))

    def add(self, hashes: Iterable[int]) -> None:
        """Adds the keys with these hashes. O(1) each."""
        words = self._words
        count = len(words)
        table = masks()
        for value in hashes:
            words[value % count] |= table[value >> MASK_SHIFT]

    def encode(self) -> bytes:
        """The words, little-endian."""
        words = self._words
        if sys.byteorder == "big":
            words = words[:]
            words.byteswap()
        return words.tobytes()


class BlockedBloom:
    """A filter to ask. The innermost loops of an engine may do what `may_contain` does with `words` themselves."""

    __slots__ = ("words",)

    def __init__(self, encoded: bytes) -> None:
        """From what the builder encoded. Raises ValueError when that cannot be a filter."""
        if not encoded or len(encoded) % _WORD_BYTES:
            raise ValueError(f"{len(encoded)} bytes are no whole number of words")
        self.words = array("Q", encoded)
        """Never empty."""
        if sys.byteorder == "big":
            self.words.byteswap()

    def may_contain(self, value: int) -> bool:
        """False when no key with this hash was added; True when one was, and now and then when none was. O(1)."""
        mask = masks()[value >> MASK_SHIFT]
        return self.words[value % len(self.words)] & mask == mask
