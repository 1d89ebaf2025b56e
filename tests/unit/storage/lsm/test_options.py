"""Options that make no sense are refused by name."""

import pytest

from storage.lsm.options import LsmOptions


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("memtable_bytes_max", 0),
        ("levels", 1),
        ("level_growth", 1),
        ("level0_tables_slow", 1),
        ("level0_tables_stop", 5),
        ("pending_compaction_bytes_slow", 1 << 60),
    ],
)
def test_the_field_is_named(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field):
        LsmOptions(**{field: value})  # type: ignore[arg-type]  # all of these are integers
