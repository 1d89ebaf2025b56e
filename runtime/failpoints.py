"""Named places where a test, or an operator who breaks things on purpose, makes a process fail.

A site registers its name once, at import, and calls `failpoint(NAME)` where it may fail: one look at a global while
nothing is armed. `ORRERY_FAILPOINTS="wal.before_write=crash;kv.apply=sleep(20)*3"` arms from the environment.
Actions: `crash` (ends the process at once, as kill -9 would), `error(ENOSPC)` (raises that OSError), `sleep(20)`
(blocks the whole process for 20 ms). `*3` behind an action: only the first three times; `+2`: not the first two times.
"""

import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

CRASH_EXIT_CODE = 86
"""What a process that a failpoint crashed exits with."""

_SYNTAX = re.compile(
    r"(?P<action>crash|error|sleep)(\((?P<argument>[A-Za-z0-9.]+)\))?(\+(?P<skip>\d+))?(\*(?P<first>\d+))?"
)

_sites: set[str] = set()
_armed: "dict[str, _Armed] | None" = None


@dataclass(slots=True)
class _Armed:
    action: Callable[[], None]
    skip: int
    left: int | None
    hits: int = 0


class FailpointError(ValueError):
    """An unknown site or a malformed action."""


def register(name: str) -> str:
    """Declares a site, and gives its name back."""
    _sites.add(name)
    return name


def sites() -> list[str]:
    """All sites of the modules imported so far."""
    return sorted(_sites)


def failpoint(name: str) -> None:
    """Fails here when `name` is armed."""
    if _armed is not None:
        _hit(name)


def arm(name: str, action: Callable[[], None], *, skip: int = 0, first: int | None = None) -> None:
    """Calls `action` at the site, after `skip` passes and at most `first` times. Raises FailpointError."""
    global _armed
    if name not in _sites:
        raise FailpointError(f"no failpoint {name!r}; there are: {', '.join(sites())}")
    _armed = {**(_armed or {}), name: _Armed(action, skip, first)}


def disarm_all() -> None:
    """Makes every site a no-op again."""
    global _armed
    _armed = None


def arm_from_text(
    text: str,
    *,
    crash: Callable[[], None] = lambda: os._exit(CRASH_EXIT_CODE),
    sleep_s: Callable[[float], None],
) -> None:
    """Arms what `ORRERY_FAILPOINTS` says. Raises FailpointError, and arms nothing then."""
    global _armed
    before = _armed
    try:
        for item in filter(None, (part.strip() for part in text.split(";"))):
            name, _, rest = item.partition("=")
            match = _SYNTAX.fullmatch(rest.strip())
            if match is None:
                raise FailpointError(
                    f"failpoint {item!r}: expected NAME=crash|error(ERRNO)|sleep(MS), then +SKIP *FIRST"
                )
            first = int(match["first"]) if match["first"] else None
            action = _action(item, match["action"], match["argument"], crash, sleep_s)
            arm(name.strip(), action, skip=int(match["skip"] or 0), first=first)
    except FailpointError:
        _armed = before
        raise


def _action(
    item: str, kind: str, argument: str | None, crash: Callable[[], None], sleep_s: Callable[[float], None]
) -> Callable[[], None]:
    if kind == "crash":
        return crash
    if kind == "error":
        code = getattr(errno, argument or "EIO", None)
        if not isinstance(code, int):
            raise FailpointError(f"failpoint {item!r}: {argument} is no errno")

        def fail(code: int = code) -> None:
            raise OSError(code, f"failpoint: {os.strerror(code)}")

        return fail
    try:
        duration_s = float(argument or "") / 1000
    except ValueError as error:
        raise FailpointError(f"failpoint {item!r}: sleep wants milliseconds") from error
    return lambda: sleep_s(duration_s)


def _hit(name: str) -> None:
    armed = (_armed or {}).get(name)
    if armed is None:
        return
    armed.hits += 1
    if armed.hits <= armed.skip or (armed.left is not None and armed.hits > armed.skip + armed.left):
        return
    armed.action()
