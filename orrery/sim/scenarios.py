"""The scenarios by name. Names are known without importing one, since every `orrery` command comes by here."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orrery.sim.setting import Setting

SCENARIOS = {
    "kv": "the real kv cluster of three and its clients, under faults of every kind",
    "kv-deposed": "the same in a calm world, where nothing but partitions cuts members off, with a client beside each",
    "lock": "the real lock service over the real kv, and clients that write under locks, under faults of every kind",
    "lock-late": "the same in a calm world, where clients stand still for longer than their sessions live, and go on",
}
"""What each is, in a line."""


def setting(name: str) -> "Setting":
    """The scenario of a name in SCENARIOS; loads what it needs. Raises KeyError."""
    if name.startswith("lock"):
        from orrery.sim.lock.scenarios import SETTINGS

        return SETTINGS[name]
    from orrery.sim import kv_cluster

    return {"kv": kv_cluster.FAULTS, "kv-deposed": kv_cluster.DEPOSED}[name]
