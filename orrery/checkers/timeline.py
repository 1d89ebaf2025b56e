"""The smallest failing part as a picture: a row a process, a bar an operation, the culprit marked.

The horizontal axis counts the shown events, so that nothing is too short to see; times stand in the tooltips. Numbered
dots are the longest partial linearization, each inside its operation's bar and right of the one before. Arrows are the
dependencies of a cycle. An operation without an answer has no right end.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from orrery.checkers.history import NEVER, Operation, canonical
from orrery.checkers.verdict import Anomaly, Verdict

OPERATIONS_MAX = 200
"""Drawn in one picture; the newest are kept."""
STATES_MAX = 40
"""Written beside their dots; the rest is in the tooltips."""
_UNIT, _ROW, _BAR, _LEFT, _TOP = 64.0, 40.0, 22.0, 110.0, 46.0
_CHARACTER = 6.6
_STYLE = """
svg{font:12px ui-monospace,Menlo,Consolas,monospace;background:#fff}
.op{fill:#cfe2f3;stroke:#6f9bc4}.open{fill:#f3efdc;stroke:#b9a96a;stroke-dasharray:4 3}
.culprit{fill:#f6c7c3;stroke:#b3261e;stroke-width:2}.row{stroke:#e4e4e4}.name{fill:#444}
.dot{fill:#2e6b34}.number{fill:#fff;font-size:10px;text-anchor:middle}.way{fill:none;stroke:#2e6b34;stroke-width:1.2}
.state{fill:#2e6b34;font-size:11px;text-anchor:middle}.edge{fill:none;stroke:#8a3ffc;stroke-width:1.6}
.why{fill:#8a3ffc;font-size:11px;text-anchor:middle}
"""
_PAGE_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#222;background:#fff}
figure{overflow-x:auto;margin:1rem 0;border:1px solid #ddd}table{border-collapse:collapse;font-size:13px}
td,th{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}tr.culprit{color:#b3261e;font-weight:600}
code{font-size:13px}h1 span{text-transform:uppercase}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """An operation's place."""

    operation: Operation
    row: int
    left: float
    """In events from the first shown one."""
    right: float
    label: str
    culprit: bool
    number: int
    """Its place in the partial linearization, from 1; 0 when it has none."""
    point: float
    """Where it took effect in that order; in events."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What any drawing of an anomaly needs."""

    bars: tuple[Bar, ...]
    rows: tuple[str, ...]
    """Names of the rows; empty for a second row of the same process."""
    width: float
    """In events."""
    left_out: int
    """Operations that are not shown."""


def lay_out(anomaly: Anomaly) -> Layout:
    """Places the operations. O(n log n)."""
    shown = anomaly.operations[-OPERATIONS_MAX:]
    lines = sorted({line for each in shown for line in (each.invoked, each.completed) if line != NEVER})
    width = float(len(lines) + 1)
    places = {each.number: place for place, each in enumerate(shown)}
    ordered = [shown[places[point.operation]] for point in anomaly.order if point.operation in places]
    step = 0.8 / (len(ordered) + 1)
    points: dict[int, tuple[int, float]] = {}
    at = 0.0
    for number, operation in enumerate(ordered, 1):
        at = max(at, float(bisect_left(lines, operation.invoked))) + step
        points[operation.number] = (number, at)
    lanes: dict[str, list[float]] = {}
    """By process: the right end of each of its rows so far."""
    placed: list[tuple[Operation, str, int, float, float]] = []
    for operation in shown:
        left = float(bisect_left(lines, operation.invoked))
        right = width if operation.completed == NEVER else float(bisect_left(lines, operation.completed))
        ends = lanes.setdefault(canonical(operation.process), [])
        lane = next((place for place, end in enumerate(ends) if end < left), len(ends))
        ends[lane : lane + 1] = [right]
        placed.append((operation, canonical(operation.process), lane, left, right))
    first: dict[str, int] = {}
    rows: list[str] = []
    for process in sorted(lanes, key=lambda name: (len(name), name)):
        first[process] = len(rows)
        rows += [f"process {process}", *[""] * (len(lanes[process]) - 1)]
    bars = tuple(
        Bar(
            operation,
            first[process] + lane,
            left,
            right,
            anomaly.labels.get(operation.number, operation.f),
            operation.number in anomaly.culprits,
            *points.get(operation.number, (0, left)),
        )
        for operation, process, lane, left, right in placed
    )
    return Layout(bars, tuple(rows), width, len(anomaly.operations) - len(shown))


def svg(anomaly: Anomaly) -> str:
    """The picture, a whole SVG document."""
    layout = lay_out(anomaly)
    widest = max((len(bar.label) * _CHARACTER / max(bar.right - bar.left, 1) for bar in layout.bars), default=0.0)
    unit = min(max(_UNIT, widest), 3 * _UNIT)
    width, height = _LEFT + layout.width * unit + 20, _TOP + len(layout.rows) * _ROW + 20
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" role="img">'
    parts = [head, f"<title>{escape(anomaly.name)}</title><style>{_STYLE}</style>"]
    parts.append(
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#8a3ffc"/></marker></defs>'
    )
    for place, name in enumerate(layout.rows):
        y = _TOP + (place + 0.5) * _ROW
        parts.append(f'<line class="row" x1="{_LEFT}" x2="{width:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="name" x="8" y="{y + 4:.1f}">{escape(name)}</text>')
    parts += [_bar(bar, unit) for bar in layout.bars]
    parts += _way(anomaly, layout, unit)
    parts += _arrows(anomaly, layout, unit)
    return "".join([*parts, "</svg>"])


def _x(at: float, unit: float) -> float:
    return _LEFT + at * unit


def _bar(bar: Bar, unit: float) -> str:
    x, width = _x(bar.left, unit), max((bar.right - bar.left) * unit, 4.0)
    y = _TOP + bar.row * _ROW + (_ROW - _BAR) / 2
    kind = "culprit" if bar.culprit else "open" if bar.operation.completed == NEVER else "op"
    room = int(width / _CHARACTER)
    text = bar.label if len(bar.label) <= room else bar.label[: max(room - 1, 0)] + "…"
    took_ms = (bar.operation.completed_ns - bar.operation.invoked_ns) / 1e6
    tip = f"{bar.label} · process {bar.operation.process} · {bar.operation.lines} · {took_ms:.3f} ms"
    return (
        f'<g><title>{escape(tip)}</title><rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{_BAR}" rx="4"/><text x="{x + 4:.1f}" y="{y + 15:.1f}">{escape(text)}</text></g>'
    )


def _way(anomaly: Anomaly, layout: Layout, unit: float) -> list[str]:
    """The partial linearization: a line through its points, and the states above."""
    states = {point.operation: point.state for point in anomaly.order}
    steps = sorted((bar for bar in layout.bars if bar.number), key=lambda bar: bar.number)
    if not steps:
        return []
    places = [(_x(bar.point, unit), _TOP + (bar.row + 0.5) * _ROW + _BAR / 2) for bar in steps]
    parts = [f'<polyline class="way" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>']
    free = 0.0
    for bar, (x, y) in zip(steps, places, strict=True):
        state = states[bar.operation.number]
        tip = f"{bar.number}: {bar.label}, then {state}"
        parts.append(f'<g><title>{escape(tip)}</title><circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="7"/>')
        parts.append(f'<text class="number" x="{x:.1f}" y="{y + 3.5:.1f}">{bar.number}</text></g>')
        half = len(state) * _CHARACTER / 2
        if len(steps) <= STATES_MAX and x - half > free:
            parts.append(f'<text class="state" x="{x:.1f}" y="22">{escape(state)}</text>')
            parts.append(f'<line class="row" x1="{x:.1f}" x2="{x:.1f}" y1="26" y2="{y - 7:.1f}"/>')
            free = x + half + 6
    return parts


def _arrows(anomaly: Anomaly, layout: Layout, unit: float) -> list[str]:
    """The dependencies of a cycle, bent so that two between the same bars can be told apart."""
    bars = {bar.operation.number: bar for bar in layout.bars}
    parts = []
    for edge in anomaly.edges:
        if edge.source not in bars or edge.target not in bars:
            continue
        (x1, y1), (x2, y2) = (_middle(bars[number], unit) for number in (edge.source, edge.target))
        bend = 0.18
        mx, my = (x1 + x2) / 2 - (y2 - y1) * bend, (y1 + y2) / 2 + (x2 - x1) * bend
        parts.append(
            f'<path class="edge" marker-end="url(#tip)" d="M{x1:.1f} {y1:.1f}Q{mx:.1f} {my:.1f} {x2:.1f} {y2:.1f}"/>'
            f'<text class="why" x="{(mx + (x1 + x2) / 2) / 2:.1f}" y="{(my + (y1 + y2) / 2) / 2 - 4:.1f}">'
            f"{escape(edge.label)}</text>"
        )
    return parts


def _middle(bar: Bar, unit: float) -> tuple[float, float]:
    return _x((bar.left + bar.right) / 2, unit), _TOP + (bar.row + 0.5) * _ROW


def html(verdict: Verdict, name: str) -> str:
    """A page of its own: the verdict, and each anomaly in words, as a picture and as a table."""
    title = f"{name}: {verdict.answer}"
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{_PAGE_STYLE}</style></head><body><h1>{escape(name)}: <span>{escape(verdict.answer)}</span></h1>",
        f"<p>Model <code>{escape(verdict.model)}</code>. {escape(verdict.summary)}. {verdict.operations} operations, "
        f"{verdict.steps} steps, {verdict.elapsed_s:.3f} s.</p>",
    ]
    for anomaly in verdict.anomalies:
        parts.append(f"<h2>{escape(anomaly.name)}</h2><p>{escape(anomaly.text)}</p>")
        left_out = len(anomaly.operations) - OPERATIONS_MAX
        if left_out > 0:
            parts.append(f"<p>The oldest {left_out} operations are not drawn.</p>")
        parts.append(f"<figure>{svg(anomaly)}</figure>{_table(anomaly)}")
    return "".join([*parts, "</body></html>\n"])


def _table(anomaly: Anomaly) -> str:
    places = {point.operation: (number, point.state) for number, point in enumerate(anomaly.order, 1)}
    rows = ["<table><tr><th>lines</th><th>process</th><th>operation</th><th>order</th><th>then</th></tr>"]
    for operation in anomaly.operations[-OPERATIONS_MAX:]:
        number, state = places.get(operation.number, ("", ""))
        label = anomaly.labels.get(operation.number, operation.f)
        cells = (operation.lines.removeprefix("lines "), operation.process, label, number, state)
        row = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
        rows.append(f"<tr{' class=culprit' if operation.number in anomaly.culprits else ''}>{row}</tr>")
    return "".join([*rows, "</table>"])


def text_picture(anomaly: Anomaly, columns: int = 40) -> Sequence[str]:
    """The same for a terminal: a line an operation, in the order of invocations."""
    layout = lay_out(anomaly)
    scale = max(columns - 1, 1) / layout.width
    names = [f"process {bar.operation.process}" for bar in layout.bars]
    wide = max(map(len, names), default=0)
    drawn = []
    for bar, name in zip(layout.bars, names, strict=True):
        left, right = round(bar.left * scale), round(bar.right * scale)
        field = [" "] * columns
        field[left : right + 1] = ["-"] * (right + 1 - left)
        field[left] = "|"
        field[right] = ">" if bar.operation.completed == NEVER else "|"
        mark = f"#{bar.number}" if bar.number else "!!" if bar.culprit else "?"
        drawn.append(f"{name:<{wide}}  {''.join(field)}  {mark:<4} {bar.label}  ({bar.operation.lines})")
    if layout.left_out:
        drawn.insert(0, f"({layout.left_out} older operations are left out)")
    return drawn
