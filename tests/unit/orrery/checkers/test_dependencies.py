import itertools

from hypothesis import given
from hypothesis import strategies as st

from orrery.checkers.dependencies import Dependency, Graph, Kind, components, find_cycles, shortest_path

edges_of_small_graphs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20)


def as_edges(pairs: list[tuple[int, int]]) -> dict[int, list[Dependency]]:
    edges: dict[int, list[Dependency]] = {node: [] for pair in pairs for node in pair}
    for source, target in pairs:
        edges[source].append(Dependency(source, target, "ww", ""))
    return edges


def reached(pairs: list[tuple[int, int]], start: int) -> set[int]:
    found, todo = {start}, [start]
    while todo:
        node = todo.pop()
        new = {target for source, target in pairs if source == node} - found
        found |= new
        todo += new
    return found


@given(edges_of_small_graphs)
def test_components_are_what_reaches_itself_mutually(pairs: list[tuple[int, int]]) -> None:
    nodes = {node for pair in pairs for node in pair}
    ways = {node: reached(pairs, node) for node in nodes}
    expected = {frozenset(other for other in ways[node] if node in ways[other]) for node in nodes}
    assert {frozenset(each) for each in components(as_edges(pairs))} == {each for each in expected if len(each) > 1}


@given(edges_of_small_graphs, st.integers(0, 6), st.integers(0, 6))
def test_a_shortest_path_is_one(pairs: list[tuple[int, int]], source: int, target: int) -> None:
    edges = as_edges(pairs)
    path = shortest_path(edges, source, target, range(7))
    if source == target:
        return
    assert (path is not None) == (target in reached(pairs, source))
    if path is not None:
        assert [path[0].source, path[-1].target] == [source, target]
        assert all(one.target == next_one.source for one, next_one in itertools.pairwise(path))
        distance, layer = 0, {source}
        while target not in layer:
            layer = {t for s, t in pairs if s in layer}
            distance += 1
        assert len(path) == distance


def test_a_deep_graph_needs_no_recursion() -> None:
    pairs = [(node, node + 1) for node in range(50_000)]
    assert components(as_edges(pairs)) == []
    assert len(components(as_edges([*pairs, (50_000, 0)]))[0]) == 50_001


def cycle_names(*edges: tuple[int, int, Kind]) -> list[str]:
    graph = Graph()
    for source, target, kind in edges:
        graph.add(source, target, kind, "")
    return [name for name, _ in find_cycles(graph)]


def test_a_cycle_has_the_name_of_the_kinds_it_needs() -> None:
    assert cycle_names((1, 2, "ww"), (2, 1, "ww")) == ["G0"]
    assert cycle_names((1, 2, "ww"), (2, 1, "wr")) == ["G1c"]
    assert cycle_names((1, 2, "rw"), (2, 1, "wr")) == ["G-single"]
    assert cycle_names((1, 2, "rw"), (2, 1, "rw")) == ["G2"]
    assert cycle_names((1, 2, "ww"), (2, 1, "process")) == ["G0-process"]
    assert cycle_names((1, 2, "wr"), (2, 1, "realtime")) == ["G1c-realtime"]
    assert cycle_names((1, 2, "rw"), (2, 3, "realtime"), (3, 1, "process")) == ["G-single-realtime"]
    assert cycle_names((1, 2, "realtime"), (1, 1, "ww")) == []
    assert cycle_names((1, 2, "ww"), (2, 3, "ww"), (3, 1, "ww"), (2, 1, "wr")) == ["G0", "G1c"]
