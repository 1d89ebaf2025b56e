"""The scenarios by name. Names are known without importing one, since every `orrery` command comes by here."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orrery.sim.setting import Setting

SCENARIOS = {
    "kv": "the real kv cluster of three and its clients, under faults of every kind",
    "kv-deposed": "the same in a calm world, where nothing but partitions cuts members off, with a client beside each",
}
"""What each is, in a line."""


def setting(name: str) -> "Setting":
    """The scenario of a name in SCENARIOS; loads what it needs. Raises KeyError."""
    from orrery.sim.kv.scenarios import SETTINGS

    return SETTINGS[name]
