"""Judges what clients of one etcd key saw, by the revisions that the store told them.

A key is a register whose writes are totally ordered by revision, and both a put and a read tell theirs. So there is
nothing to search (as the general problem, which is NP-complete, would need; Gibbons and Korach, SIAM J. Comput. 1997):
a history is linearizable exactly when
- a revision and a value belong together, wherever they are seen;
- what began after another operation had ended does not see an older revision, and a put sees a newer one;
- nobody reads what nobody had begun to write.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class Operation:
    """One call of one client. Times are virtual seconds of the world."""

    client: str
    key: bytes
    begin_s: float
    is_put: bool
    value: bytes = b""
    end_s: float | None = None
    """None: no answer, so the put may have happened, and may happen still."""
    revision: int = 0
    """Of the put, or of the value that was read; 0: there was no value."""


class NotLinearizable(AssertionError):
    """Two operations that contradict each other."""


def check_revisions(operations: Iterable[Operation]) -> int:
    """Judges the operations on all keys; gives how many were answered. Raises NotLinearizable."""
    by_key: dict[bytes, list[Operation]] = {}
    for operation in operations:
        by_key.setdefault(operation.key, []).append(operation)
    return sum(_check_key(history) for history in by_key.values())


def _check_key(history: list[Operation]) -> int:
    answered = [operation for operation in history if operation.end_s is not None]
    _check_values(history, answered)
    # Sweeps over time: the newest revision that any ended operation has seen binds all that begin later.
    ends = sorted(answered, key=lambda operation: operation.end_s or 0.0)
    newest: Operation | None = None
    ended = 0
    for operation in sorted(answered, key=lambda operation: operation.begin_s):
        while (ends[ended].end_s or 0.0) < operation.begin_s:
            if newest is None or ends[ended].revision > newest.revision:
                newest = ends[ended]
            ended += 1
        if newest is None:
            continue
        if operation.revision < newest.revision or (operation.is_put and operation.revision == newest.revision):
            raise NotLinearizable(f"{operation} began after this had ended: {newest}")
    return len(answered)


def _check_values(history: list[Operation], answered: list[Operation]) -> None:
    written = {operation.value: operation for operation in history if operation.is_put}
    revisions: dict[int, bytes] = {}
    for operation in answered:
        if operation.revision == 0:
            if operation.is_put or operation.value:
                raise NotLinearizable(f"{operation} has no revision")
            continue
        if revisions.setdefault(operation.revision, operation.value) != operation.value:
            raise NotLinearizable(f"{operation}: elsewhere that revision is {revisions[operation.revision]!r}")
        put = written.get(operation.value)
        if put is None or put.begin_s > (operation.end_s or 0.0):
            raise NotLinearizable(f"{operation} read what nobody had written")
        if put.end_s is not None and put.revision != operation.revision:
            raise NotLinearizable(f"{operation} sees the value at another revision than {put}")
