import pytest

from cluster.discovery import Endpoint, Source, StaticSource, as_source


def known(source: Source) -> tuple[str, ...]:
    return source.current.addresses


async def test_addresses_and_endpoints() -> None:
    source = StaticSource(["b:1", Endpoint("a:1", weight=3), "b:1"])
    assert known(source) == ("a:1", "b:1")
    assert source.current.endpoints[0].weight == 3
    source.replace(["c:1"])
    assert known(source) == ("c:1",)
    assert as_source(source) is source
    assert as_source(["d:1"]).current.addresses == ("d:1",)


@pytest.mark.parametrize("bad", ["", "a", "a:1,b:1", "a:99999"])
def test_what_is_no_address_is_refused_and_changes_nothing(bad: str) -> None:
    with pytest.raises(ValueError):
        StaticSource([bad])
    source = StaticSource(["a:1"])
    with pytest.raises(ValueError):
        source.replace(["b:1", bad])
    assert known(source) == ("a:1",)
