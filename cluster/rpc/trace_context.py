"""The trace that a call belongs to, carried from the call that a process serves to those that it makes meanwhile.

W3C Trace Context (Recommendation of 23 November 2021), sections 3.2 and 3.3, in gRPC metadata. No spans are made here:
what comes in goes out unchanged, as a participant may do that only forwards (section 4.3), so that a tracer in front
of us and one behind us see one trace. Whoever makes spans puts its own `TraceContext` into `CURRENT_TRACE`.

Our own engine does this at both ends; grpcio does not.
"""

import re
from contextvars import ContextVar
from dataclasses import dataclass

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
STATE_BYTES_MAX = 512
"""A longer `tracestate` is dropped and the trace kept: what section 3.3.1.5 asks to be propagated at least."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?").fullmatch
_VERSION = "00"
_INVALID_VERSION = "ff"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where in which trace the work stands."""

    trace_id: str
    """32 hexadecimal digits, not all zeros."""
    parent_id: str
    """The caller's span: 16 hexadecimal digits, not all zeros."""
    flags: int = 0
    """Bit 0: the caller may have recorded the trace."""
    state: str = ""
    """What vendors added, opaque."""

    @property
    def sampled(self) -> bool:
        """Whether the caller may have recorded the trace."""
        return bool(self.flags & 1)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What carries it."""
        parent = (TRACEPARENT, f"{_VERSION}-{self.trace_id}-{self.parent_id}-{self.flags:02x}")
        return (parent, (TRACESTATE, self.state)) if self.state else (parent,)


CURRENT_TRACE: ContextVar[TraceContext | None] = ContextVar("CURRENT_TRACE", default=None)
"""The trace of the call that the running task serves. Channels of our own engine send it with every call."""


def read_trace_context(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """The context in these fields, or None when they hold none: a broken one starts no trace and is no error.

    A later version of the format is read by what this one knows of it (section 3.2.2.1).
    """
    match = _TRACEPARENT(traceparent)
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == _INVALID_VERSION or (version == _VERSION and more):
        return None
    if not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    return TraceContext(trace_id, parent_id, int(flags, 16), tracestate if len(tracestate) <= STATE_BYTES_MAX else "")
