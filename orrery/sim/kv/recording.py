"""How a client's calls become a history: invoked before they leave, and completed by what is known of them after.

`fail` is written only when the call surely did nothing: when it never reached a member, or a member said so in words
that mean it. Everything else is `info`. A member that says so wrongly is found out by the judges, since a `fail` that
took effect is an anomaly.
"""

import collections
from collections.abc import Awaitable
from dataclasses import dataclass

import grpc
import grpc.aio

from orrery.checkers.history import Json, Key, Outcome, Recorder

DECIDED = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""What kv answers with them it has refused to do."""
NO_LEADER = "etcdserver: no leader"
"""The one UNAVAILABLE of a member that is definite: the command was never handed to consensus."""


class Declined(Exception):
    """The call did nothing: a comparison did not hold, a turn did not come."""


class Unanswered(Exception):
    """A stream has ended without the answer: nobody knows."""


def is_definite(error: grpc.aio.AioRpcError) -> bool:
    """Whether the call surely had no effect and never will."""
    never_sent: bool = getattr(error, "definite", False)
    return never_sent or error.code() in DECIDED or error.details() == NO_LEADER


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call."""

    outcome: Outcome
    value: Json = None


class Process:
    """One client of a history: does one thing at a time."""

    def __init__(self, name: str, recorder: Recorder, refusals: collections.Counter[str]) -> None:
        self.name = name
        self._recorder = recorder
        self._refusals = refusals

    async def do(self, f: str, key: Key, value: Json, call: Awaitable[Json]) -> Answer:
        """Records a call, and awaits it. What it raises but AioRpcError goes on: the invocation stays open."""
        invocation = self._recorder.invoke(self.name, f, key, value)
        try:
            answer = await call
        except Declined as error:
            self._recorder.fail(invocation, error=str(error))
            return Answer("fail")
        except Unanswered as error:
            self._recorder.info(invocation, error=str(error))
            return Answer("info")
        except grpc.aio.AioRpcError as error:
            self._refusals[error.code().name] += 1
            said = f"{error.code().name}: {error.details()}"
            if is_definite(error):
                self._recorder.fail(invocation, error=said)
                return Answer("fail")
            self._recorder.info(invocation, error=said)
            return Answer("info")
        self._recorder.ok(invocation, answer)
        return Answer("ok", answer)
