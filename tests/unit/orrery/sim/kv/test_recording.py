import asyncio
import collections
import json

import grpc
import grpc.aio
import pytest

from cluster.rpc.grpc.status import CallFailed
from orrery.checkers.history import Json, Recorder
from orrery.sim.kv.recording import Declined, Process, Unanswered, is_definite


def refused(code: grpc.StatusCode, details: str = "", *, definite: bool = False) -> grpc.aio.AioRpcError:
    empty = grpc.aio.Metadata()
    return CallFailed(code, empty, empty, details, definite=definite)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused(grpc.StatusCode.UNAVAILABLE, "failed to connect", definite=True), True),
        (refused(grpc.StatusCode.DEADLINE_EXCEEDED, definite=True), True),
        (refused(grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader"), True),
        (refused(grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found"), True),
        (refused(grpc.StatusCode.OUT_OF_RANGE), True),
        (refused(grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out"), False),
        (refused(grpc.StatusCode.UNAVAILABLE, "etcdserver: server stopped"), False),
        (refused(grpc.StatusCode.UNAVAILABLE, "Socket closed"), False),
        (refused(grpc.StatusCode.DEADLINE_EXCEEDED), False),
        (refused(grpc.StatusCode.UNKNOWN), False),
        (refused(grpc.StatusCode.INTERNAL), False),
    ],
)
def test_only_what_surely_did_nothing_is_definite(error: grpc.aio.AioRpcError, expected: bool) -> None:
    assert is_definite(error) is expected


async def answers(value: Json) -> Json:
    return value


async def raises(error: Exception) -> Json:
    raise error


def test_a_call_is_invoked_and_completed_by_what_is_known() -> None:
    lines: list[bytes] = []
    refusals = collections.Counter[str]()
    process = Process("p", Recorder(lines.append, lambda: 5), refusals)

    async def work() -> list[str]:
        return [
            (await process.do("put", "a", 1, call)).outcome
            for call in (
                answers({"revision": 2}),
                raises(refused(grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")),
                raises(refused(grpc.StatusCode.DEADLINE_EXCEEDED)),
                raises(Declined("not my turn")),
                raises(Unanswered("the stream has ended")),
            )
        ]

    assert asyncio.run(work()) == ["ok", "fail", "info", "fail", "info"]
    events = [json.loads(line) for line in lines]
    assert [event["type"] for event in events[::2]] == ["invoke"] * 5
    assert events[1] == {
        "index": 1,
        "time": 5,
        "process": "p",
        "type": "ok",
        "f": "put",
        "key": "a",
        "value": {"revision": 2},
    }
    assert events[3]["error"] == "UNAVAILABLE: etcdserver: no leader"
    assert refusals == {"UNAVAILABLE": 1, "DEADLINE_EXCEEDED": 1}


def test_what_a_call_must_not_raise_goes_on_and_leaves_it_open() -> None:
    lines: list[bytes] = []
    process = Process("p", Recorder(lines.append, lambda: 0), collections.Counter())
    with pytest.raises(ZeroDivisionError):
        asyncio.run(_do(process, raises(ZeroDivisionError())))
    assert len(lines) == 1


async def _do(process: Process, call: "asyncio.Future[Json] | object") -> None:
    await process.do("get", "a", None, call)  # type: ignore[arg-type]
