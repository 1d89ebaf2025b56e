"""Dependencies between transactions, and the cycles among them.

An edge says that its source comes before its target in every order that explains the answers. A cycle says that there
is no such order; which kinds of edges it needs names the anomaly (Adya, "Weak Consistency", MIT 1999; Kingsbury and
Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020).

Each search takes the fewest kinds of edges that can show its anomaly, so a cycle is told under its strongest name:
G0 needs writes alone, G1c writes and reads, G-single one anti-dependency, G2 several. The same again with the order of
each process, and with real time.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["ww", "wr", "rw", "process", "realtime"]
SEARCHES_MAX = 2_000
"""Of shortest cycles, for each anomaly: a history that is broken everywhere is told by a few examples."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """`source` before `target`."""

    source: int
    target: int
    kind: Kind
    why: str
    """In words: `2 appended 5 to "x" after 4`."""


Cycle: TypeAlias = tuple[Dependency, ...]
"""Edges of which each starts where the one before ends, and the first where the last ends."""


class Graph:
    """Dependencies by source; of equal ones (source, target, kind) the first is kept."""

    def __init__(self) -> None:
        self._edges: dict[int, dict[tuple[int, Kind], Dependency]] = {}

    def add(self, source: int, target: int, kind: Kind, why: str) -> None:
        """An edge. A transaction's dependency on itself says nothing and is left out."""
        if source != target:
            self._edges.setdefault(source, {}).setdefault((target, kind), Dependency(source, target, kind, why))
            self._edges.setdefault(target, {})

    def edges(self, kinds: frozenset[Kind]) -> dict[int, list[Dependency]]:
        """Those of some kinds, by source."""
        return {
            source: [edge for (_, kind), edge in edges.items() if kind in kinds]
            for source, edges in self._edges.items()
        }


def components(edges: Mapping[int, Sequence[Dependency]]) -> list[set[int]]:
    """Strongly connected components of more than one node: Tarjan's algorithm, without recursion. O(nodes + edges)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    on_stack: set[int] = set()
    stack: list[int] = []
    found: list[set[int]] = []
    for start in edges:
        if start in index:
            continue
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        work = [(start, iter(edges[start]))]
        while work:
            node, rest = work[-1]
            for edge in rest:
                target = edge.target
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(edges[target])))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component: set[int] = set()
                    while node not in component:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.add(member)
                    if len(component) > 1:
                        found.append(component)
    return found


def shortest_path(
    edges: Mapping[int, Sequence[Dependency]], source: int, target: int, within: Iterable[int]
) -> list[Dependency] | None:
    """The fewest edges from one node to another inside a set of nodes, breadth first; None when there is no way."""
    allowed = set(within)
    came: dict[int, Dependency] = {}
    queue = deque([source])
    seen = {source}
    while queue:
        node = queue.popleft()
        for edge in edges.get(node, ()):
            if edge.target in seen or edge.target not in allowed:
                continue
            came[edge.target] = edge
            if edge.target == target:
                path: list[Dependency] = []
                while target != source:
                    path.append(came[target])
                    target = came[target].source
                return path[::-1]
            seen.add(edge.target)
            queue.append(edge.target)
    return None


def find_cycles(graph: Graph) -> list[tuple[str, Cycle]]:
    """For each anomaly the shortest cycle that shows it, by its name; nothing that a stronger name already tells."""
    found: list[tuple[str, Cycle]] = []
    told: set[str] = set()
    for suffix, order in _ORDERS:
        for name, needed, rest in _ANOMALIES:
            if name in told:
                continue
            cycle = _find(graph, needed, rest | order, several=name == "G2")
            # With the order of processes or real time in the search, a cycle that does without is one found before.
            if cycle is not None and (not order or any(edge.kind in order for edge in cycle)):
                told.add(name)
                found.append((name + suffix, cycle))
    return found


_ORDERS: tuple[tuple[str, frozenset[Kind]], ...] = (
    ("", frozenset()),
    ("-process", frozenset({"process"})),
    ("-realtime", frozenset({"process", "realtime"})),
)
_ANOMALIES: tuple[tuple[str, Kind, frozenset[Kind]], ...] = (
    ("G0", "ww", frozenset({"ww"})),
    ("G1c", "wr", frozenset({"ww", "wr"})),
    ("G-single", "rw", frozenset({"ww", "wr"})),
    ("G2", "rw", frozenset({"ww", "wr", "rw"})),
)


def _find(graph: Graph, needed: Kind, rest: frozenset[Kind], *, several: bool) -> Cycle | None:
    """The shortest cycle of one edge of the needed kind and a way back over the others."""
    everything = graph.edges(rest | {needed})
    back = graph.edges(rest)
    best: Cycle | None = None
    searches = 0
    for component in components(everything):
        for node in sorted(component):
            for edge in everything[node]:
                if edge.kind != needed or edge.target not in component:
                    continue
                searches += 1
                if searches > SEARCHES_MAX:
                    return best
                path = shortest_path(back, edge.target, edge.source, component)
                if path is None or (several and not any(step.kind == "rw" for step in path)):
                    continue
                if best is None or len(path) + 1 < len(best):
                    best = (edge, *path)
                    if len(best) == 2:
                        return best
    return best
