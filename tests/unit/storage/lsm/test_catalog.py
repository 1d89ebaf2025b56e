"""Edits come back as they were written, whatever else comes is refused, and a refused edit changes nothing."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.lsm.catalog import Catalog, CatalogError, Edit, TableMeta, runs_of, table_name, table_number


def meta(number: int, low: bytes = b"a", high: bytes = b"b", *, level: int = 0, run: int = 0) -> TableMeta:
    return TableMeta(
        number=number,
        table_id=number,
        level=level,
        run=run,
        size_bytes=10,
        entries=1,
        low=low,
        high=high,
        range_deletes=0,
        deletions=0,
        expiring=False,
        created_ms=5,
    )


def test_an_edit_survives_its_encoding() -> None:
    edit = Edit(whole=True, removed=(3, 4), added=(meta(5),), next_number=9, log_lsn=7, operator="append")
    assert Edit.decode(edit.encode()) == edit


@given(st.binary(max_size=200))
def test_what_is_no_edit_is_refused(record: bytes) -> None:
    with pytest.raises(CatalogError):
        Edit.decode(record)


def test_a_later_format_is_named() -> None:
    with pytest.raises(CatalogError, match="version"):
        Edit.decode(msgspec.msgpack.encode([2, "something else"]))


def test_the_state_is_what_the_edits_make() -> None:
    catalog = Catalog()
    catalog.apply(Edit(whole=True, next_number=1, operator="append"))
    catalog.apply(Edit(added=(meta(1, run=1), meta(2, run=2)), next_number=3, log_lsn=4))
    catalog.apply(Edit(added=(meta(2, level=1),), removed=(1, 2)))
    assert list(catalog.tables) == [2]
    assert catalog.tables[2].level == 1
    again = Catalog()
    again.apply(Edit.decode(catalog.whole_edit().encode()))
    assert again == catalog
    assert (again.log_lsn, again.operator, again.next_number) == (4, "append", 3)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (Edit(removed=(7,)), "not there"),
        (Edit(added=(meta(1),), next_number=5), "added twice"),
        (Edit(added=(meta(4, b"b", b"b"),), next_number=5), "bounds"),
        (Edit(added=(meta(8),), next_number=5), "not given out"),
        (Edit(added=(meta(4, b"a", b"c"),), next_number=5), "overlap"),
    ],
)
def test_an_edit_that_does_not_fit_changes_nothing(edit: Edit, problem: str) -> None:
    catalog = Catalog()
    catalog.apply(Edit(whole=True, added=(meta(1),), next_number=3))
    before = catalog.whole_edit()
    with pytest.raises(CatalogError, match=problem):
        catalog.apply(edit)
    assert catalog.whole_edit() == before


def test_runs_are_ordered_by_age() -> None:
    tables = [
        meta(1, level=1),
        meta(2, run=2),
        meta(3, run=9),
        meta(4, b"c", b"d", level=1),
        meta(5, level=2),
        meta(6, b"c", b"d", run=9),
    ]
    assert [[each.number for each in run] for run in runs_of(tables)] == [[3, 6], [2], [1, 4], [5]]


def test_names_are_told_from_others() -> None:
    assert table_number(table_name(42)) == 42
    assert table_number(table_name(10**12)) == 10**12
    for name in ("manifest", "42.table", "00000000x1.table", "0000000042.wal"):
        assert table_number(name) is None
