"""A bar chart as SVG, by hand: a plotting library would be the heaviest dependency of the house."""

from xml.sax.saxutils import escape

COLOURS = {"ours": "#2f6fb0", "btree": "#2f6fb0", "lsm": "#4a9a5b", "lsm+wal": "#8cc49a", "grpc.aio": "#c98b2b"}
"""Ours and the one they are measured by; every other is grey."""
ROW, BAR, LEFT, WIDTH = 20, 15, 250, 900


def bars(title: str, values: list[tuple[str, str, float]]) -> str:
    """Horizontal bars: one for each (case, engine, value), each case scaled to its own largest value."""
    largest = {case: max(value for other, _, value in values if other == case) for case, _, _ in values}
    parts: list[str] = []
    y = 40
    previous = ""
    for case, engine, value in values:
        if case != previous:
            y += 12
            parts.append(f'<text x="10" y="{y + 12}">{escape(case)}</text>')
            previous = case
        width = max(1.0, (WIDTH - LEFT - 160) * value / largest[case])
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{width:.0f}" height="{BAR}" fill="{COLOURS.get(engine, "#555")}"/>'
            f'<text x="{LEFT + width + 6:.0f}" y="{y + 12}">{escape(engine)} {value:,.0f}</text>'
        )
        y += ROW
    size = f'width="{WIDTH}" height="{y + 20}" font-family="sans-serif" font-size="12"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    return f'{head}<text x="10" y="22" font-size="16">{escape(title)}</text>{"".join(parts)}</svg>\n'
