from orrery.sim.columns import columns, hosts_of
from runtime.sim import Event

LOG = [
    Event(0.0, "a", "boot 1"),
    Event(0.25, "net", "a to b cut"),
    Event(0.5, "a", "sends", "b", 3, 10),
    Event(0.75, "b", "takes", "a", 3, 10),
    Event(1.0, "a#1", "a long story of what has happened on this host"),
]


def test_a_column_a_host_in_order_of_appearance_and_the_network_last() -> None:
    assert hosts_of(LOG) == ["a", "b", "net"]
    assert list(columns(LOG, width=66)) == [
        "     seconds  a                 b                 net",
        "    0.000000  boot 1",
        "    0.250000                                      a to b cut",
        "    0.500000  → b 10 B",
        "    0.750000                    ← a 10 B",
        "    1.000000  a long story of",
        "              what has",
        "              happened on this",
        "              host",
    ]


def test_only_what_was_asked_for() -> None:
    lines = list(columns(LOG, width=80, only=["b"]))
    assert [line.split() for line in lines] == [["seconds", "b"], ["0.750000", "←", "a", "10", "B"]]


def test_nothing_is_nothing() -> None:
    assert list(columns([], width=80)) == []
