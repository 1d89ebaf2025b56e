"""A probe by gRPC's health service (grpc.health.v1): SERVING passes, anything else fails.

A server that does not know the service, or has no health service at all, fails, too: it was named to be asked.
"""

import asyncio

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.registry.checks.probes.channels import Channels
from services.registry.checks.probes.result import Result
from services.registry.checks.probes.targets import parse_target
from services.registry.checks.probes.tls import TlsContexts
from services.registry.domain import CheckDefinition, Health

SERVING = health_pb2.HealthCheckResponse.SERVING
_ANSWERED = frozenset({grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAUTHENTICATED})
"""Refusals that tell that the channel works."""


async def probe_grpc(channels: Channels, tls: TlsContexts, definition: CheckDefinition, timeout_s: float) -> Result:
    """Asks once. Never raises, but for cancellation."""
    what = f"gRPC check {definition.target}"
    try:
        target = parse_target(definition.target)
        verify = not definition.skip_tls_verification
        context = tls.get(verify=verify, protocol="h2") if definition.use_tls else None
        async with channels.use(target, tls=context, verify=verify) as held:
            held_ok = False
            try:
                async with asyncio.timeout(timeout_s):
                    request = health_pb2.HealthCheckRequest(service=target.service)
                    answer = await health_pb2_grpc.HealthStub(held.channel).Check(request)
                held_ok = True
            except grpc.aio.AioRpcError as error:
                held_ok = error.code() in _ANSWERED
                return Result(Health.CRITICAL, f"{what}: {error.code().name}: {error.details()}")
            except TimeoutError:
                return Result(Health.CRITICAL, f"{what}: no answer within {timeout_s:g} s")
            finally:
                held.broken = held.broken or not held_ok
    except (OSError, ValueError) as error:
        return Result(Health.CRITICAL, f"{what}: {error}")
    if answer.status == SERVING:
        return Result(Health.PASSING, f"{what}: success")
    names = health_pb2.HealthCheckResponse.ServingStatus
    name = names.Name(answer.status) if answer.status in names.values() else str(answer.status)
    return Result(Health.CRITICAL, f"{what}: {name}")
