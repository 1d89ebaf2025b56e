from collections.abc import Iterable

from cluster.discovery import EndpointSet, StaticSource, watch
from cluster.discovery.source import Published


class Counted(Published):
    """Tells when it is started and stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []

    def _start(self) -> None:
        self.steps.append("start")

    async def _stop(self) -> None:
        self.steps.append("stop")


def of(addresses: Iterable[str]) -> EndpointSet:
    return StaticSource(addresses).current


async def test_it_works_while_somebody_listens_and_keeps_what_it_knows() -> None:
    source = Counted()
    one, two = source.subscribe(lambda _: None), source.subscribe(lambda _: None)
    assert source.steps == ["start"]
    source.publish(of(["a:1"]))
    await one.close()
    await one.close()
    assert source.steps == ["start"]
    await two.close()
    assert source.steps == ["start", "stop"]
    assert source.current.addresses == ("a:1",)
    await source.subscribe(lambda _: None).close()
    assert source.steps == ["start", "stop", "start", "stop"]


async def test_only_changes_are_told_and_not_to_those_who_have_left() -> None:
    source = Counted()
    heard: list[tuple[str, ...]] = []

    async def leave() -> None:
        await last.close()

    first = source.subscribe(lambda endpoints: heard.append(endpoints.addresses))
    last = source.subscribe(lambda endpoints: heard.append(("last", *endpoints.addresses)))
    for addresses in (["a:1"], ["a:1"], ["b:1", "a:1"]):
        source.publish(of(addresses))
    await leave()
    source.publish(of([]))
    assert heard == [("a:1",), ("last", "a:1"), ("a:1", "b:1"), ("last", "a:1", "b:1"), ()]
    assert source.changes == 3
    await first.close()


async def test_watching_begins_with_what_is_known() -> None:
    source = StaticSource(["a:1"])
    sets = watch(source)
    assert (await anext(sets)).addresses == ("a:1",)
    source.replace(["b:1"])
    source.replace(["c:1"])
    assert (await anext(sets)).addresses == ("c:1",)
    await sets.aclose()  # type: ignore[attr-defined]  # an async generator
