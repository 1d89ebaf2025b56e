import pytest
from grpc import StatusCode

from cluster.pb.orrery.lock.v1.lock_pb2 import Acquire, Campaign, Exclusive, Open, Proclaim, Release, Semaphore, Shared
from services.lock import checks, limits
from services.lock.refusals import Refused

EXCLUSIVE = Exclusive()


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (Open(ttl_s=0), "ttl_s is 0"),
        (Open(ttl_s=limits.TTL_S_MAX + 1), "ttl_s is 3601"),
        (Open(ttl_s=5, lock_delay_s=61), "lock_delay_s is 61"),
        (Open(ttl_s=5, owner="a\nb"), "cannot be printed"),
        (Open(ttl_s=5, owner="a" * 257), "longer than 256"),
        (Open(session_id=-1), "negative"),
    ],
)
def test_sessions_that_cannot_be_opened(request_: Open, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        checks.check_open(request_)
    assert refused.value.code is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (Acquire(name="a\x01", hold_id=1, exclusive=EXCLUSIVE), "U\\+0001"),
        (Acquire(name="a", exclusive=EXCLUSIVE), "hold_id is 0"),
        (Acquire(name="a", hold_id=1 << 63, exclusive=EXCLUSIVE), "hold_id is"),
        (Acquire(name="a", hold_id=1), "mode is missing"),
        (Acquire(name="a", hold_id=1, exclusive=EXCLUSIVE, wait_ms_max=1 << 60), "wait_ms_max"),
        (Acquire(name="a", hold_id=1, exclusive=EXCLUSIVE, hold_ms_max=1 << 60), "hold_ms_max"),
        (Acquire(name="a", hold_id=1, exclusive=EXCLUSIVE, held_token=-1), "held_token"),
        (Acquire(name="a", hold_id=1, semaphore=Semaphore(limit=0)), "limit is 0"),
        (Acquire(name="a", hold_id=1, semaphore=Semaphore(limit=10**7)), "limit is 10000000"),
        (Acquire(name="a", hold_id=1, semaphore=Semaphore(limit=2, permits=3)), "3 permits of a semaphore of 2"),
        (Acquire(name="a", hold_id=1, campaign=Campaign(value=b"x" * 70000)), "longer than 65536"),
        (Acquire(name="a", hold_id=1, campaign=Campaign(value=b"orrery.lock/1 {}")), "marks locks"),
        (Acquire(name="a", hold_id=1, campaign=Campaign(), hold_ms_max=5), "not for elections"),
    ],
)
def test_acquisitions_that_make_no_sense(request_: Acquire, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        checks.wanted_of(request_, "")
    assert refused.value.code is StatusCode.INVALID_ARGUMENT


def test_what_an_acquisition_wants() -> None:
    shared = checks.wanted_of(Acquire(name="a", hold_id=1, shared=Shared()), "me")
    assert shared is not None
    assert (shared.mode, shared.owner) == ("shared", "me")
    semaphore = checks.wanted_of(Acquire(name="a", hold_id=1, semaphore=Semaphore(limit=3)), "")
    assert semaphore is not None
    assert (semaphore.permits, semaphore.limit) == (1, 3)
    assert checks.wanted_of(Acquire(name="a", hold_id=1, campaign=Campaign(value=b"x")), "") is None


def test_releases_and_proclamations() -> None:
    for release in (Release(name="", hold_id=1), Release(name="a"), Release(name="a", hold_id=1, token=-1)):
        with pytest.raises(Refused):
            checks.check_release(release)
    with pytest.raises(Refused, match="longer"):
        checks.check_proclaim(Proclaim(name="a", value=b"x" * 70000))
