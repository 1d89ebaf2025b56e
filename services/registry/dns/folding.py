"""Finds services and nodes by names in lower case, whatever case the catalogue has them in (RFC 4343)."""

from collections.abc import Sequence

from services.registry.interface import Catalogue, Change, ChangeKind


def fold(text: str) -> str:
    """ASCII letters in lower case; others are left alone, as DNS leaves them."""
    return text.lower() if text.isascii() else text.encode("utf-8", "replace").lower().decode()


class Folding:
    """Small tables over a catalogue, of the names that are not in lower case.

    They are made anew when such a name has changed, and it is asked for one. Instances that come and go under a name in
    lower case, as nearly all are, cost nothing here: the topics of the catalogue do not tell the two apart.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._services: dict[str, list[str]] = {}
        self._nodes: dict[str, str] = {}
        self._node_parents: set[str] = set()
        self._has_new_services = self._has_new_nodes = True
        self._generation = 0
        self._end = catalogue.subscribe(self._changed)

    def close(self) -> None:
        """Listens to the catalogue no more."""
        self._end()

    @property
    def generation(self) -> int:
        """Rises when the services that a name means change."""
        if self._has_new_services:
            self._has_new_services = False
            services: dict[str, list[str]] = {}
            for name in self._catalogue.services():
                lower = fold(name)
                if lower != name:
                    services.setdefault(lower, [lower]).append(name)
            if services != self._services:
                self._services = services
                self._generation += 1
        return self._generation

    def services(self, folded: str) -> list[str]:
        """The names of all services that are called so; the plain one is always among them, there or not."""
        _ = self.generation
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

    def _changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.kind is ChangeKind.INSTANCE:
                if fold(change.service) != change.service:
                    self._has_new_services = True
            elif change.kind is ChangeKind.NODE:
                self._has_new_nodes = True
            elif change.kind is ChangeKind.RESET:
                self._has_new_services = self._has_new_nodes = True

    def _refresh_nodes(self) -> None:
        if not self._has_new_nodes:
            return
        self._has_new_nodes = False
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
