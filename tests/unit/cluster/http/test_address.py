import pytest

from cluster.http.address import join_address, split_address


@pytest.mark.parametrize(("text", "parts"), [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0))])
def test_both_ways(text: str, parts: tuple[str, int]) -> None:
    assert split_address(text) == parts
    assert join_address(*parts) == text


@pytest.mark.parametrize("text", ["", "a", ":1", "a:", "a:-1", "a:65536", "::1:80", "a:1x", "a:²"])
def test_what_is_malformed_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not of the form|IPv6|port must"):
        split_address(text)
