"""Finds services and nodes by names in lower case, whatever case the catalogue has them in (RFC 4343)."""

from services.registry.interface import Catalogue, Topic, TopicKind

_SERVICES = Topic(TopicKind.SERVICES)
_NODES = Topic(TopicKind.NODES)


def fold(text: str) -> str:
    """ASCII letters in lower case; others are left alone, as DNS leaves them."""
    return text.lower() if text.isascii() else text.encode("utf-8", "replace").lower().decode()


class Folding:
    """Small tables over a catalogue, of the names that are not in lower case. They are looked through anew when names
    may have changed; O(1) otherwise.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._services: dict[str, list[str]] = {}
        self._services_index = 0
        self._nodes: dict[str, str] = {}
        self._node_parents: set[str] = set()
        self._nodes_index = 0
        self.generation = 0
        """Rises when the services that a name means change."""

    def generation_now(self) -> int:
        """The generation, after a look at whether names have changed."""
        index = self._catalogue.index(_SERVICES)
        if index != self._services_index:
            self._services_index = index
            services: dict[str, list[str]] = {}
            for name in self._catalogue.services():
                lower = fold(name)
                if lower != name:
                    services.setdefault(lower, [lower]).append(name)
            if services != self._services:
                self._services = services
                self.generation += 1
        return self.generation

    def services(self, folded: str) -> list[str]:
        """The names of all services that are called so; the plain one is always among them, there or not."""
        self.generation_now()
        return self._services.get(folded) or [folded]

    def node(self, folded: str) -> str | None:
        """The node that is called so."""
        if self._catalogue.node(folded) is not None:
            return folded
        self._refresh_nodes()
        return self._nodes.get(folded)

    def is_parent_of_node(self, folded: str) -> bool:
        """Whether nodes are called `something.folded`."""
        self._refresh_nodes()
        return folded in self._node_parents

    def _refresh_nodes(self) -> None:
        index = self._catalogue.index(_NODES)
        if index == self._nodes_index:
            return
        self._nodes_index = index
        self._nodes = {}
        self._node_parents = set()
        for view in self._catalogue.nodes():
            lower = fold(view.node.name)
            if lower != view.node.name:
                self._nodes.setdefault(lower, view.node.name)
            rest = lower
            while "." in rest:
                rest = rest.partition(".")[2]
                self._node_parents.add(rest)
