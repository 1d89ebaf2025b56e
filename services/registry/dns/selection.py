"""Which records of a set, and in what order: anew for each answer, so that clients that take the first one spread."""

import struct
from bisect import bisect_right
from collections.abc import Sequence

from runtime import Randomness

DRAWS_PER_PICK_MAX = 4
"""Draws that may hit what is picked already, for each pick; those that are left then come in any order."""


def shuffled(size: int, count: int, random: Randomness) -> list[int]:
    """`count` of the places 0 to `size` - 1, each order equally likely. One draw of randomness.

    The first steps of Fisher and Yates's shuffle; only the places that moved are written down, so O(count). A remainder
    of 32 random bits prefers some places by less than one in a hundred thousand for the sets that there are.
    """
    count = min(count, size)
    if size < 2:
        return list(range(count))
    moved: dict[int, int] = {}
    order: list[int] = []
    for place, draw in enumerate(struct.unpack(f">{count}I", random.bytes(4 * count))):
        other = place + draw % (size - place)
        order.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    return order


def weighted(bounds: Sequence[int], count: int, random: Randomness) -> list[int]:
    """`count` of the places; each next one by its share of the weight that is left. Those without weight come last.

    So a client that takes the first address follows the weights, though A records have none. `bounds` are the weights
    added up. O(count log all), and O(all) once most of them are picked.
    """
    count = min(count, len(bounds))
    total = bounds[-1]
    picked: dict[int, None] = {}
    if total:
        tries = DRAWS_PER_PICK_MAX * count
        for draw in struct.unpack(f">{tries}Q", random.bytes(8 * tries)):
            picked[bisect_right(bounds, draw % total)] = None
            if len(picked) == count:
                break
    order = list(picked)
    if len(order) < count:
        rest = [place for place in range(len(bounds)) if place not in picked]
        heavy = [place for place in rest if bounds[place] != (bounds[place - 1] if place else 0)]
        order += [heavy[one] for one in shuffled(len(heavy), count - len(order), random)]
        if len(order) < count:
            light = [place for place in rest if bounds[place] == (bounds[place - 1] if place else 0)]
            order += [light[one] for one in shuffled(len(light), count - len(order), random)]
    return order
