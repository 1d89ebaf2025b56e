"""Which records of a set, and in what order: anew for each answer, so that clients that take the first one spread."""

import struct
from bisect import bisect_right
from collections.abc import Sequence

from runtime import Randomness
from services.registry.dns.plan import Choice

DRAWS_PER_PICK_MAX = 4
"""Draws that may hit what is picked already, for each pick; those that are left then come in any order."""


def shuffled(choices: Sequence[Choice], count: int, random: Randomness) -> list[Choice]:
    """`count` of them, each order equally likely. One draw of randomness; O(count) beside a copy of the list.

    The first steps of Fisher and Yates's shuffle. A remainder of 32 random bits prefers some places by less than one
    in a hundred thousand for the sets that there are.
    """
    pool = list(choices)
    size = len(pool)
    count = min(count, size)
    if size > 1:
        draws = struct.unpack(f">{count}I", random.bytes(4 * count))
        for place, draw in enumerate(draws):
            other = place + draw % (size - place)
            pool[place], pool[other] = pool[other], pool[place]
    del pool[count:]
    return pool


def weighted(choices: Sequence[Choice], bounds: Sequence[int], count: int, random: Randomness) -> list[Choice]:
    """`count` of them; each next one by its share of the weight that is left. Those without weight come last.

    So a client that takes the first address follows the weights, though A records have none. `bounds` are the weights
    added up. O(count log all), and O(all) once most of them are picked.
    """
    count = min(count, len(choices))
    total = bounds[-1]
    picked: dict[int, None] = {}
    if total:
        tries = DRAWS_PER_PICK_MAX * count
        for draw in struct.unpack(f">{tries}Q", random.bytes(8 * tries)):
            picked[bisect_right(bounds, draw % total)] = None
            if len(picked) == count:
                break
    order = [choices[place] for place in picked]
    if len(order) < count:
        rest = [choice for place, choice in enumerate(choices) if place not in picked]
        order += shuffled([choice for choice in rest if choice.weight], count, random)
        if len(order) < count:
            order += shuffled([choice for choice in rest if not choice.weight], count, random)
        del order[count:]
    return order
