"""Random numbers in advance: a draw from the kernel costs more than everything else in a pick."""

import struct

from runtime import Randomness

DRAWS = 64
"""How many are drawn at once."""
_numbers = struct.Struct(f"<{DRAWS}Q")
_UNIT = 2.0**-53


def draw(random: Randomness) -> list[float]:
    """DRAWS floats in [0, 1), each with 53 random bits as those of `Randomness.random`."""
    return [(number >> 11) * _UNIT for number in _numbers.unpack(random.bytes(_numbers.size))]
