"""What is written is read again as it was."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from orrery.toml import Document, to_toml

KEYS = st.sampled_from(["node", "kv", "a-b", "c_d", "0", "-"])
TEXT = st.text(max_size=8)
SCALARS = st.one_of(
    TEXT,
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(TEXT, max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
)
TABLES = st.dictionaries(KEYS, SCALARS, max_size=3)
DOCUMENTS: st.SearchStrategy[Document] = st.dictionaries(
    KEYS, SCALARS | TABLES | st.dictionaries(KEYS, SCALARS | TABLES, max_size=3), max_size=4
)


@given(DOCUMENTS)
def test_it_is_read_as_it_was(document: Document) -> None:
    assert tomllib.loads(to_toml(document)) == document
