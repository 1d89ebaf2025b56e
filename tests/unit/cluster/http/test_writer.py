from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from cluster.http.writer import http_date


@given(st.integers(0, 4_000_000_000))
def test_dates_are_those_of_the_standard(wall_s: int) -> None:
    assert http_date(wall_s) == formatdate(wall_s, usegmt=True)
