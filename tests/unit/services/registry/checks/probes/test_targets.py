import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.checks.probes.targets import Target, parse_target


@pytest.mark.parametrize(
    ("text", "expected", "address"),
    [
        ("a:1", Target("a", 1), "a:1"),
        ("a.b:65535/x.y.Z", Target("a.b", 65535, "x.y.Z"), "a.b:65535"),
        ("[::1]:2/s", Target("::1", 2, "s"), "[::1]:2"),
        ("127.0.0.1:3/", Target("127.0.0.1", 3), "127.0.0.1:3"),
    ],
)
def test_what_is_read(text: str, expected: Target, address: str) -> None:
    assert parse_target(text) == expected
    assert parse_target(text).address == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", ":1", "a:0", "a:65536", "a:b", "::1:2", "[::1]", "[x]:1", "[1.2.3.4]:1", "a b:1", "a:1\n", "ä:1"),
        *("dns:///a:1", "a:1,b:2", "unix:/x", "[fe80::1%eth0]:1\x00", "a:1" + "x" * 3_000),
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_target(text)


@given(st.text())
def test_anything_else_is_an_error_of_value(text: str) -> None:
    try:
        target = parse_target(text)
    except ValueError:
        return
    assert 0 < target.port < 65_536
    assert parse_target(target.address) == target._replace(service="")
