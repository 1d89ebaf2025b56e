"""A probe by HTTP: 2xx passes, 429 warns, anything else fails, redirects too.

An answer counts when it is whole, or when 4 KiB of its body are there: a server that dies within its answer is not
well.
"""

from http import HTTPStatus

from cluster.http.client import FetchFailed, fetch, make_request
from cluster.http.reply import ReplyLimits
from cluster.http.url import parse_url
from runtime import Net
from services.registry.checks.judging import OUTPUT_BYTES_MAX
from services.registry.checks.probes.result import Result
from services.registry.checks.probes.tls import TlsContexts
from services.registry.domain import CheckDefinition, Health

LIMITS = ReplyLimits(body_bytes_max=OUTPUT_BYTES_MAX)
TOO_MANY_REQUESTS = 429


async def probe_http(net: Net, tls: TlsContexts, definition: CheckDefinition, timeout_s: float) -> Result:
    """Asks once. Never raises, but for cancellation."""
    what = f"HTTP {definition.method} {definition.target}"
    try:
        url = parse_url(definition.target)
        body = definition.body.encode()
        request = make_request(url, definition.method, definition.headers, body)
        context = None
        if url.scheme == "https":
            context = tls.get(verify=not definition.skip_tls_verification, protocol="http/1.1")
        reply = await fetch(net, request, within_s=timeout_s, limits=LIMITS, tls=context)
    except (FetchFailed, OSError, ValueError) as error:
        return Result(Health.CRITICAL, f"{what}: {error}")
    text = reply.body.decode("utf-8", "replace")
    return Result(judge_status(reply.status), f"{what}: {reply.status} {_phrase(reply.status)} Output: {text}")


def judge_status(status: int) -> Health:
    """What a status means."""
    if 200 <= status < 300:
        return Health.PASSING
    return Health.WARNING if status == TOO_MANY_REQUESTS else Health.CRITICAL


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
