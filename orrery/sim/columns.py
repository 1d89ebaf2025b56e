"""A recorded run as text: time goes down, a column a host."""

import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence

from runtime.sim import Event

TIME_WIDTH = 12
COLUMN_WIDTH_MIN = 16
COLUMN_WIDTH_MAX = 44
LAST = ("net", "world")
"""Who is no host stands at the right."""


def host_of(event: Event) -> str:
    """The column of an event: the host, whichever life of it."""
    return event.host.partition("#")[0]


def hosts_of(log: Iterable[Event]) -> list[str]:
    """Every host of a run, in the order in which they first did something, then the network and the world."""
    hosts = list(dict.fromkeys(host_of(event) for event in log))
    return sorted(hosts, key=lambda host: LAST.index(host) + 1 if host in LAST else 0)


def say(event: Event) -> str:
    """An event as its column tells it."""
    if event.what == "sends":
        return f"→ {event.peer} {event.size} B"
    if event.what == "takes":
        return f"← {event.peer} {event.size} B"
    return event.what


def columns(log: Sequence[Event], *, width: int, only: Collection[str] = ()) -> Iterator[str]:
    """Lines of a table: virtual seconds, then a column for each host, or for those of `only`.

    Lines are `width` wide at the most, unless there are so many hosts that columns would become too narrow to read.
    """
    hosts = [host for host in hosts_of(log) if not only or host in only]
    if not hosts:
        return
    column = (width - TIME_WIDTH) // len(hosts) - 2
    column = min(COLUMN_WIDTH_MAX, max(COLUMN_WIDTH_MIN, column))

    def line(time: str, cells: dict[str, str]) -> str:
        return (f"{time:>{TIME_WIDTH}}" + "".join(f"  {cells.get(host, ''):<{column}}" for host in hosts)).rstrip()

    yield line("seconds", {host: host for host in hosts})
    for event in log:
        host = host_of(event)
        if host not in hosts:
            continue
        time = f"{event.virtual_s:.6f}"
        for part in textwrap.wrap(say(event), column) or [""]:
            yield line(time, {host: part})
            time = ""
