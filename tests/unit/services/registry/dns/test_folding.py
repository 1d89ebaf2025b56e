"""Names in any case, and tables that are made anew only when they must be."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import pytest

from services.registry.dns.folding import Folding, fold
from services.registry.domain import Health
from tests.unit.services.registry.dns.book import Book


def test_only_ascii_is_folded() -> None:
    assert fold("WEB-Ä") == "web-Ä"
    assert fold("Web") == "web"


def test_services_that_differ_in_case_are_one() -> None:
    book = Book()
    folding = Folding(book.catalogue)
    assert folding.services("web") == ["web"]
    book.instance("n1", "Web", name="1")
    book.instance("n1", "WEB", name="2")
    assert sorted(folding.services("web")) == ["WEB", "Web", "web"]
    before = folding.generation
    book.instance("n1", "other", name="3")
    book.health("n1", "1", Health.CRITICAL)
    assert folding.generation == before
    book.remove("n1", "2")
    assert folding.generation > before
    assert sorted(folding.services("web")) == ["Web", "web"]


def test_nodes() -> None:
    book = Book()
    folding = Folding(book.catalogue)
    book.node("Host.Example.Net", "10.0.0.1")
    book.node("plain", "10.0.0.2")
    assert folding.node("host.example.net") == "Host.Example.Net"
    assert folding.node("plain") == "plain"
    assert folding.node("nope") is None
    assert folding.is_parent_of_node("example.net")
    assert folding.is_parent_of_node("net")
    assert not folding.is_parent_of_node("host.example.net")


def test_names_in_lower_case_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book()
    folding = Folding(book.catalogue)
    book.instance("n1", "Web", name="1")
    assert len(folding.services("web")) == 2

    def never() -> Mapping[str, AbstractSet[str]]:
        raise AssertionError("nothing has changed that matters")

    monkeypatch.setattr(book.catalogue, "services", never)
    book.instance("n1", "api", name="2")
    book.health("n1", "1", Health.CRITICAL)
    assert len(folding.services("web")) == 2
    monkeypatch.undo()
    book.catalogue.reset((), book.revision + 1)
    assert folding.services("web") == ["web"]
    before = len(book.catalogue._listeners)
    folding.close()
    assert len(book.catalogue._listeners) == before - 1
