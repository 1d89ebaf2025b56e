import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.http.url import Url, parse_url


@pytest.mark.parametrize(
    ("text", "expected", "authority"),
    [
        ("http://a", Url("http", "a", 80, "/"), "a"),
        ("HTTP://a:80/x?y=1#z", Url("http", "a", 80, "/x?y=1"), "a"),
        ("https://a.b-c.example.:8443?q", Url("https", "a.b-c.example.", 8443, "/?q"), "a.b-c.example.:8443"),
        ("http://[::1]:81/", Url("http", "::1", 81, "/"), "[::1]:81"),
        ("https://[::1]", Url("https", "::1", 443, "/"), "[::1]"),
        ("http://10.0.0.1:/ü%20", Url("http", "10.0.0.1", 80, "/%C3%BC%20"), "10.0.0.1"),
        ("http://a/\\b", Url("http", "a", 80, "/%5Cb"), "a"),
    ],
)
def test_what_is_read(text: str, expected: Url, authority: str) -> None:
    url = parse_url(text)
    assert url == expected
    assert url.authority == authority


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "//a",
        "ftp://a",
        "file:///etc/passwd",
        "gopher://a",
        "http:/a",
        "http://",
        "http:///x",
        "http://a b",
        "http://a/\r\nX: y",
        "http://a/\t",
        "http://a\x00",
        "http://a/\x85",
        "http://user:pw@a/",
        "http://a@b",
        "http://a\\@b/",
        "http://ä/",
        "http://a:0",
        "http://a:65536",
        "http://a:x",
        "http://a:1:2",
        "http://-a",
        "http://[::1",
        "http://[1.2.3.4]",
        "http://[fe80::1%eth0]",
        "http://[::1]x",
        "http://a/\ud800",
        "http://a/" + "x" * 9_000,
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL"):
        parse_url(text)


@given(st.one_of(st.text(), st.text().map("http://".__add__), st.text().map("https://host/".__add__)))
def test_whatever_is_read_fits_in_a_request_line(text: str) -> None:
    try:
        url = parse_url(text)
    except ValueError:
        return
    assert url.target.isascii()
    assert url.target.startswith("/")
    for part in (url.target, url.authority):
        assert all("!" <= character <= "~" for character in part)
