from cluster.discovery import CompositeSource, Endpoint, EndpointHealth, EndpointSet, Source, StaticSource
from cluster.discovery.source import Published


def known(source: Source) -> tuple[str, ...]:
    return source.current.addresses


class Registry(Published):
    """Knows nothing until it is told."""


def told(*addresses: str, health: EndpointHealth = EndpointHealth.HEALTHY) -> EndpointSet:
    return EndpointSet.of(Endpoint(address, health=health) for address in addresses)


async def test_what_is_written_down_until_the_other_answers_and_again_when_it_knows_nobody() -> None:
    fallback, better = StaticSource(["a:1", "b:1"]), Registry()
    source = CompositeSource(fallback, better)
    heard: list[tuple[str, ...]] = []
    assert known(source) == ("a:1", "b:1")
    subscription = source.subscribe(lambda endpoints: heard.append(endpoints.addresses))
    better.publish(told("c:1"))
    fallback.replace(["d:1"])
    better.publish(told("c:1", health=EndpointHealth.UNHEALTHY))
    better.publish(told("c:1", "e:1"))
    better.publish(told())
    assert heard == [("c:1",), ("d:1",), ("c:1", "e:1"), ("d:1",)]
    await subscription.close()
    better.publish(told("f:1"))
    assert len(heard) == 4
    # What happened while nobody listened is known with the next subscription, and not told as a change.
    await source.subscribe(lambda endpoints: heard.append(endpoints.addresses)).close()
    assert known(source) == ("f:1",)
    assert len(heard) == 4


async def test_both_for_a_service_that_the_registry_stands_on() -> None:
    fallback, better = StaticSource(["a:1", "b:1"]), Registry()
    source = CompositeSource(fallback, better, keeps_fallback=True)
    subscription = source.subscribe(lambda _: None)
    better.publish(told("b:1", "c:1"))
    assert known(source) == ("a:1", "b:1", "c:1")
    assert [endpoint.health for endpoint in source.current.endpoints] == [
        EndpointHealth.UNKNOWN,
        EndpointHealth.HEALTHY,
        EndpointHealth.HEALTHY,
    ]
    better.publish(told())
    assert known(source) == ("a:1", "b:1")
    await subscription.close()


async def test_without_anything_written_down() -> None:
    better = Registry()
    source = CompositeSource(StaticSource([]), better)
    subscription = source.subscribe(lambda _: None)
    assert known(source) == ()
    better.publish(told("a:1", health=EndpointHealth.UNHEALTHY))
    # A bad one is better than none.
    assert known(source) == ("a:1",)
    await subscription.close()
