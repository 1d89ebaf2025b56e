"""A recorded run as a picture: a line a host, time goes down, an arrow a message.

After the diagrams of Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System" (CACM, 1978).
Time is stretched: each row is one event, so that what happens within a microsecond can be told apart.
"""

from collections import deque
from collections.abc import Collection, Sequence
from html import escape

from orrery.sim.columns import host_of, hosts_of
from runtime.sim import Event

EVENTS_MAX = 4000
"""Drawn at the most: the last ones. Browsers are slow with more."""
ROW = 14
COLUMN = 190
LEFT = 90
TOP = 40
NAMES_EVERY = 70
"""Rows after which the hosts' names stand again, so that a screen shows them wherever it is."""
STYLE = (
    "text{font:11px sans-serif;fill:#222;paint-order:stroke;stroke:#fff;stroke-width:3px}"
    ".t{fill:#777;text-anchor:end}.h{font-weight:bold;text-anchor:middle}"
    "line{stroke:#bbb}.m{stroke:#2a6fb0;marker-end:url(#a)}.l{stroke:#c33;stroke-dasharray:3 3}circle{fill:#222}"
)


def takings(log: Sequence[Event]) -> dict[int, int]:
    """For each message that was taken: the place in the log where it was sent, and where its last byte was taken.

    Bytes of one direction come in order, but several messages may be taken at once, and what was on its way when a
    connection broke never is.
    """
    pending: dict[int, deque[tuple[int, int]]] = {}
    sent: dict[int, int] = {}
    taken: dict[int, int] = {}
    found: dict[int, int] = {}
    for place, event in enumerate(log):
        if event.what == "sends" and event.pipe:
            sent[event.pipe] = sent.get(event.pipe, 0) + event.size
            pending.setdefault(event.pipe, deque()).append((sent[event.pipe], place))
        elif event.what == "takes" and event.pipe:
            taken[event.pipe] = taken.get(event.pipe, 0) + event.size
            waiting = pending[event.pipe]
            while waiting and waiting[0][0] <= taken[event.pipe]:
                found[waiting.popleft()[1]] = place
    return found


def diagram(log: Sequence[Event], *, only: Collection[str] = ()) -> str:
    """The picture as SVG, of all hosts or of those in `only`; of a long run its last EVENTS_MAX events."""
    arrows = takings(log)
    hosts = [host for host in hosts_of(log) if not only or host in only]
    across = {host: LEFT + COLUMN // 2 + COLUMN * number for number, host in enumerate(hosts)}
    # A message to or from somebody who is left out would be a row with nothing in it.
    shown = [
        place
        for place, event in enumerate(log)
        if host_of(event) in across and (not event.peer or event.peer in across)
    ][-EVENTS_MAX:]
    down = {place: TOP + ROW * (row + 1) for row, place in enumerate(shown)}
    width, height = LEFT + COLUMN * len(hosts), TOP + ROW * (len(shown) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        '<defs><marker id="a" markerWidth="8" markerHeight="6" refX="8" refY="3" orient="auto">'
        '<path d="M0,0 L8,3 L0,6 z" fill="#2a6fb0"/></marker></defs>',
    ]
    names: list[str] = []
    for host, x in across.items():
        parts.append(f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{height}"/>')
        names += [
            f'<text class="h" x="{x}" y="{TOP - 12 + ROW * row}">{escape(host)}</text>'
            for row in range(0, len(shown) + 1, NAMES_EVERY)
        ]
    before_s = -1.0
    for place, y in down.items():
        event = log[place]
        x = across[host_of(event)]
        if event.virtual_s != before_s:
            parts.append(f'<text class="t" x="{LEFT - 8}" y="{y + 4}">{event.virtual_s:.6f}</text>')
            before_s = event.virtual_s
        if event.what == "takes":
            continue
        if event.what != "sends":
            parts.append(f'<circle cx="{x}" cy="{y}" r="3"/>')
            parts.append(f'<text x="{x + 7}" y="{y + 4}">{escape(event.what)}</text>')
            continue
        end_x = across[event.peer]
        end_y = down.get(arrows.get(place, -1))
        title = f"<title>{event.size} bytes to {escape(event.peer)}</title>"
        if end_y is None:
            # Lost, or on its way when the run ended: a stub that points to where it should have gone.
            stub_x = x + (20 if end_x > x else -20)
            parts.append(f'<line class="l" x1="{x}" y1="{y}" x2="{stub_x}" y2="{y + 8}">{title}</line>')
        else:
            parts.append(f'<line class="m" x1="{x}" y1="{y}" x2="{end_x}" y2="{end_y}">{title}</line>')
    # Above everything else.
    parts += names
    parts.append("</svg>\n")
    return "\n".join(parts)
