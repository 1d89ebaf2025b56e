import xml.etree.ElementTree as ET

from orrery.sim import lamport
from orrery.sim.lamport import diagram, takings
from runtime.sim import Event

LOG = [
    Event(0.1, "a", "sends", "b", 3, 10),
    Event(0.2, "a", "sends", "b", 3, 20),
    Event(0.3, "b", "sends", "a", 4, 5),
    Event(0.4, "b", "takes", "a", 3, 30),
    Event(0.5, "a", "sends", "b", 3, 7),
    Event(0.6, "b", "power <lost>"),
]


def test_messages_are_taken_in_order_even_when_taken_as_one() -> None:
    assert takings(LOG) == {0: 3, 1: 3}


def test_a_message_that_comes_in_pieces_is_taken_with_its_last_byte() -> None:
    log = [Event(0, "a", "sends", "b", 1, 10), Event(1, "b", "takes", "a", 1, 4), Event(2, "b", "takes", "a", 1, 6)]
    assert takings(log) == {0: 2}


def drawn(svg: str, kind: str) -> int:
    return sum(line.get("class") == kind for line in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}line"))


def test_an_arrow_a_message_and_a_stub_for_what_nobody_took() -> None:
    svg = diagram(LOG)
    assert (drawn(svg, "m"), drawn(svg, "l")) == (2, 2)
    assert "power &lt;lost&gt;" in svg
    assert drawn(diagram(LOG, only=["a"]), "m") == 0


def test_the_end_of_a_long_run_is_drawn() -> None:
    log = [Event(at, "a", f"event {at}") for at in range(lamport.EVENTS_MAX + 1)]
    svg = diagram(log)
    assert ">event 0<" not in svg
    assert f">event {lamport.EVENTS_MAX}<" in svg


def test_who_is_left_out_takes_no_row_and_names_come_again() -> None:
    log = [Event(at, "a", "sends", "b", 3, 10) for at in range(2 * lamport.NAMES_EVERY)] + [Event(999, "a", "boot 1")]
    alone, both = diagram(log, only=["a"]), diagram([*log, Event(1000, "b", "boot 1")])
    assert (alone.count(">a</text>"), alone.count("sans-serif"), ">0.000000<" in alone) == (1, 1, False)
    assert both.count(">a</text>") == 3
