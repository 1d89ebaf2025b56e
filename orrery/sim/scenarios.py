"""The scenarios by name. Names are known without importing one, since every `orrery` command comes by here."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orrery.sim.setting import Setting

SCENARIOS = {
    "kv": "the real kv cluster of three and its clients, under faults of every kind",
    "kv-5": "the same with five members",
    "kv-engines": "the same with the records of each member in another engine: lsm, btree, memory",
    "kv-engines-power-loss": "the power goes, at one, at the leader, at all, while records are in engines on disks",
    "kv-deposed": "in a calm world, where nothing but partitions cuts members off, with a client beside each",
    "kv-isolate-leader": "whoever leads is cut off, with a client beside it",
    "kv-one-way": "five members, of which some can only speak or only hear",
    "kv-swizzle-clog": "members are clogged one by one, and unclogged in another order",
    "kv-bridge": "five members, two halves that overlap in one",
    "kv-ring": "five members, each of which hears another majority",
    "kv-kill": "processes end at once, alone and all together",
    "kv-power-loss": "the power goes, at one, at the leader, at all",
    "kv-crash-points": "power is lost in the midst of writing the log",
    "kv-pause": "processes stand still and go on",
    "kv-slow-disk": "disks that are slow by a hundred times",
    "kv-bad-disk": "syncs that fail, disks that are full",
    "kv-clocks": "clocks that drift and jump",
    "kv-darkness": "all lose their power at once, on slow disks",
    "kv-stale-candidate": "who missed writes stands for election",
    "kv-wiped-voter": "who acknowledged writes loses its disk, as the leader vanishes",
    "kv-double-vote": "five members, short terms and a slow network: several stand at once",
    "kv-last-word": "leaders vanish right after they answered",
    "kv-long-tail": "leaders come back with entries that nobody else has",
    "kv-leases": "leases, while one leader after another vanishes",
    "kv-lease-clocks": "leases, while wall clocks jump",
    "kv-figure-8": "five members, short terms: later leaders copy old entries",
    "kv-bit-rot": "bits turn over in old parts of logs; who finds one must rebuild",
    "kv-wipe": "a minority loses its disks, and rebuilds them",
    "kv-wipe-5": "the same with five members",
    "lock": "the real lock service over the real kv, and clients that write under locks, under faults of every kind",
    "lock-late": "the same in a calm world, where clients stand still for longer than their sessions live, and go on",
    "lock-pause": "the same, where clients, lock processes and members of kv stand still for longer, and nothing else",
    "lock-clocks": "the same, where nothing but clocks is wrong: they run four times too slow or too fast, and jump",
    "registry": "the real registry over the real kv: who registers, beats, dies and asks, under faults of every kind",
}
"""What each is, in a line."""


def setting(name: str) -> "Setting":
    """The scenario of a name in SCENARIOS; loads what it needs. Raises KeyError."""
    if name.startswith("lock"):
        from orrery.sim.lock.scenarios import SETTINGS as LOCK_SETTINGS

        return LOCK_SETTINGS[name]
    if name.startswith("registry"):
        from orrery.sim.registry.scenarios import SETTINGS as REGISTRY_SETTINGS

        return REGISTRY_SETTINGS[name]
    from orrery.sim.kv.scenarios import SETTINGS

    return SETTINGS[name]
