"""Sites at which the simulator may make correct but rare things happen (after FoundationDB's BUGGIFY).

    if buggify("wal.small-segment"):
        segment_bytes_max = 4096

Unlike a failpoint, a site breaks no promise: a batch of one, an early timeout, a spurious retry, a cache that forgets.
The code must be right whichever way it goes. In production nothing is installed, and a site costs one look at a global.
"""

from collections.abc import Callable

_chooser: Callable[[str], bool] | None = None


def buggify(site: str) -> bool:
    """Whether the rare way is taken here, now. Always False in production."""
    return _chooser is not None and _chooser(site)


def install(chooser: Callable[[str], bool] | None) -> None:
    """Lets the simulator decide; None restores production's no."""
    global _chooser
    _chooser = chooser
