import itertools
from collections.abc import Callable, Sequence
from random import Random
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.checkers.correct_objects import Register, make_history
from orrery.checkers.history import NEVER, History, Json, Key, Operation
from orrery.checkers.judge import judge
from orrery.checkers.timeline import OPERATIONS_MAX, html, lay_out, svg, text_picture
from orrery.checkers.verdict import Anomaly, Edge, Point, Verdict

Row = tuple[int, str, str, Json, Key]
Made = Callable[[Sequence[Row]], History]

STALE: list[Row] = [
    (0, "invoke", "write", 1, None),
    (1, "invoke", "write", 2, None),
    (0, "ok", "write", 1, None),
    (2, "invoke", "read", None, None),
    (2, "ok", "read", 2, None),
    (2, "invoke", "read", None, None),
    (2, "ok", "read", 1, None),
    (2, "invoke", "read", None, None),
    (2, "ok", "read", 2, None),
]


@pytest.fixture
def stale(made: Made) -> Verdict:
    return judge("register", made(STALE))


def test_the_picture_shows_each_operation_once_and_marks_the_culprit(stale: Verdict) -> None:
    [anomaly] = stale.anomalies
    root = ET.fromstring(svg(anomaly))
    names = {"svg": "http://www.w3.org/2000/svg"}
    kinds = [rect.get("class") for rect in root.iterfind(".//svg:rect", names)]
    assert len(kinds) == len(anomaly.operations)
    assert kinds.count("culprit") == 1
    assert kinds.count("open") == 1
    dots = root.findall(".//svg:circle", names)
    assert len(dots) == len(anomaly.order) > 0


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    evil = Operation(0, "<b>", "read", None, None, "<script>", "ok", 1, 2)
    anomaly = Anomaly("<i>", "<script>", (evil,), frozenset({0}), (Point(0, "<u>"),), labels={0: '"><script>'})
    page = html(Verdict("no", "register", "<p>", 1, anomalies=(anomaly,)), "<name>")
    assert "<script" not in page
    assert "<i>" not in page
    assert "<u>" not in page
    assert "<b>" not in page
    assert "src=" not in page
    assert "href=" not in page


def test_the_dots_stand_inside_their_bars_in_order(stale: Verdict) -> None:
    layout = lay_out(stale.anomalies[0])
    placed = sorted((bar for bar in layout.bars if bar.number), key=lambda bar: bar.number)
    assert all(bar.left <= bar.point <= bar.right for bar in placed)
    assert all(one.point < other.point for one, other in itertools.pairwise(placed))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_any_history_is_laid_out_without_overlaps(seed: int) -> None:
    history = make_history(Register(), Random(seed), operations=30, processes=3, lost=0.3)
    layout = lay_out(Anomaly("x", "", history.operations))
    for one in layout.bars:
        for other in layout.bars:
            if one is not other and one.row == other.row:
                assert one.right < other.left or other.right < one.left
    assert len(layout.rows) == 1 + max(bar.row for bar in layout.bars)


def test_a_huge_part_is_cut(made: Made) -> None:
    operations = tuple(Operation(n, 0, "read", None, None, None, "ok", 2 * n + 1, 2 * n + 2) for n in range(1000))
    anomaly = Anomaly("x", "", operations)
    assert lay_out(anomaly).left_out == 1000 - OPERATIONS_MAX
    assert text_picture(anomaly)[0] == "(800 older operations are left out)"
    assert "oldest 800 operations" in html(Verdict("no", "lock", "", 1, anomalies=(anomaly,)), "x")


def test_a_cycle_is_drawn_with_arrows() -> None:
    operations = tuple(Operation(n, n, "txn", None, None, None, "ok", n + 1, NEVER) for n in range(2))
    anomaly = Anomaly("G1c", "", operations, edges=(Edge(0, 1, "wr"), Edge(1, 0, "ww"), Edge(1, 77, "ww")))
    assert svg(anomaly).count('marker-end="url(#tip)"') == 2


def test_a_terminal_sees_a_line_an_operation(stale: Verdict) -> None:
    lines = text_picture(stale.anomalies[0])
    assert len(lines) == len(stale.anomalies[0].operations)
    assert sum("!!" in line for line in lines) == 1
    assert sum(">" in line for line in lines) == 1
