"""Failpoints do nothing until armed, and then what they were told."""

import errno
from collections.abc import Iterator

import pytest

from runtime import failpoints
from runtime.failpoints import FailpointError, arm, arm_from_text, disarm_all, failpoint, register, sites

SITE = register("test.site")


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    disarm_all()


def test_actions_from_text() -> None:
    done: list[object] = []
    failpoint(SITE)
    arm_from_text(" test.site=sleep(20)+1*2; ", crash=lambda: done.append("crash"), sleep_s=done.append)
    for _ in range(5):
        failpoint(SITE)
    assert done == [0.02, 0.02]
    arm_from_text("test.site=crash", crash=lambda: done.append("crash"), sleep_s=done.append)
    failpoint(SITE)
    assert done[-1] == "crash"
    arm_from_text("test.site=error(ENOSPC)", sleep_s=done.append)
    with pytest.raises(OSError) as caught:
        failpoint(SITE)
    assert caught.value.errno == errno.ENOSPC
    disarm_all()
    failpoint(SITE)


@pytest.mark.parametrize(
    "text", ["nope=crash", "test.site", "test.site=explode", "test.site=error(EWHAT)", "test.site=sleep(x)"]
)
def test_bad_text_names_itself_and_arms_nothing(text: str) -> None:
    with pytest.raises(FailpointError, match=text.split("=")[0]):
        arm_from_text(f"test.site=crash;{text}", sleep_s=lambda _: None)
    failpoint(SITE)
    assert failpoints._armed is None


def test_sites_are_listed() -> None:
    assert SITE in sites()
    arm(SITE, lambda: None)
