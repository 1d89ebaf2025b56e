"""A probe by TCP: a connection that opens passes. Nothing is sent."""

import asyncio

from runtime import Net
from services.registry.checks.probes.result import Result
from services.registry.checks.probes.targets import parse_target
from services.registry.domain import CheckDefinition, Health


async def probe_tcp(net: Net, definition: CheckDefinition, timeout_s: float) -> Result:
    """Asks once. Never raises, but for cancellation."""
    what = f"TCP connect {definition.target}"
    try:
        target = parse_target(definition.target)
        async with asyncio.timeout(timeout_s):
            transport, _ = await net.connect(asyncio.Protocol, target.host, target.port)
    except TimeoutError:
        return Result(Health.CRITICAL, f"{what}: no connection within {timeout_s:g} s")
    except (OSError, ValueError) as error:
        return Result(Health.CRITICAL, f"{what}: {error}")
    transport.close()
    return Result(Health.PASSING, f"{what}: Success")
