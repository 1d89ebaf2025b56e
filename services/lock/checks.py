"""What makes a request one that can be done. Each check raises Refused, and says what is wrong."""

from cluster.pb.orrery.lock.v1.lock_pb2 import Acquire, Open, Proclaim, Release
from services.lock import limits
from services.lock.names import check_name
from services.lock.queue import PERMITS_MAX
from services.lock.records import MARK, PlaceRecord
from services.lock.refusals import invalid

ID_MAX = (1 << 63) - 1


def check_open(request: Open) -> None:
    """A session to be opened."""
    if request.session_id < 0:
        raise invalid("session_id is negative")
    if request.session_id:
        return
    if not limits.TTL_S_MIN <= request.ttl_s <= limits.TTL_S_MAX:
        raise invalid(f"ttl_s is {request.ttl_s}; it must be from {limits.TTL_S_MIN} to {limits.TTL_S_MAX}")
    if request.lock_delay_s > limits.LOCK_DELAY_S_MAX:
        raise invalid(f"lock_delay_s is {request.lock_delay_s}; at most {limits.LOCK_DELAY_S_MAX}")
    check_text("owner", request.owner, limits.OWNER_BYTES_MAX)


def wanted_of(request: Acquire, owner: str) -> PlaceRecord | None:
    """What an acquisition wants, without its hold; None for a candidate. Raises Refused when it cannot be wanted."""
    check_name(request.name)
    _check_hold_id(request.hold_id)
    if request.HasField("wait_ms_max") and request.wait_ms_max > limits.WAIT_MS_MAX:
        raise invalid(f"wait_ms_max is {request.wait_ms_max}; at most {limits.WAIT_MS_MAX}, or absent for no limit")
    if request.hold_ms_max > limits.HOLD_MS_MAX:
        raise invalid(f"hold_ms_max is {request.hold_ms_max}; at most {limits.HOLD_MS_MAX}, or 0 for no limit")
    if request.held_token < 0:
        raise invalid("held_token is negative")
    mode = request.WhichOneof("mode")
    if mode == "exclusive" or mode == "shared":
        return PlaceRecord(mode, (), owner)
    if mode == "semaphore":
        permits, limit = request.semaphore.permits or 1, request.semaphore.limit
        if not 1 <= limit <= PERMITS_MAX:
            raise invalid(f"the semaphore's limit is {limit}; it must be from 1 to {PERMITS_MAX}")
        if permits > limit:
            raise invalid(f"{permits} permits of a semaphore of {limit}")
        return PlaceRecord("semaphore", (), owner, permits, limit)
    if mode == "campaign":
        _check_value(request.campaign.value)
        if request.hold_ms_max:
            raise invalid("hold_ms_max is not for elections: a leader resigns")
        return None
    raise invalid("mode is missing: exclusive, shared, semaphore or campaign")


def check_release(request: Release) -> None:
    """A release."""
    check_name(request.name)
    _check_hold_id(request.hold_id)
    if request.token < 0:
        raise invalid("token is negative")


def check_proclaim(request: Proclaim) -> None:
    """A proclamation."""
    check_name(request.name)
    _check_value(request.value)


def check_text(field: str, text: str, bytes_max: int, *, needed: bool = False) -> None:
    """Words for people."""
    if needed and not text.strip():
        raise invalid(f"{field} is empty")
    if len(text.encode("utf-8", "surrogatepass")) > bytes_max:
        raise invalid(f"{field} is longer than {bytes_max} bytes")
    if not text.isprintable():
        raise invalid(f"{field} contains characters that cannot be printed")


def _check_hold_id(hold_id: int) -> None:
    if not 1 <= hold_id <= ID_MAX:
        raise invalid(f"hold_id is {hold_id}; it must be from 1 to {ID_MAX}")


def _check_value(value: bytes) -> None:
    if len(value) > limits.CAMPAIGN_VALUE_BYTES_MAX:
        raise invalid(f"the value is longer than {limits.CAMPAIGN_VALUE_BYTES_MAX} bytes")
    if value.startswith(MARK):
        raise invalid(f"the value begins with {MARK.decode()!r}, which marks locks")
