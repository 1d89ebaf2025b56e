"""Keeps what a process prints within bounds.

The file is behind descriptors 1 and 2, so that it gets everything: log records, traces of a failing import, what C
libraries print. That is why a rotating log handler would not do, and a pipe to a supervisor would be one more process
that can die.
"""

import asyncio
import os

BYTES_MAX = 16 * 1024 * 1024
"""A log grows to this much, plus what is printed within CHECK_S; then it is renamed to `.1`, replacing the former."""
CHECK_S = 2.0


class LogFile:
    """The file that a process prints to."""

    def __init__(self, path: str, bytes_max: int = BYTES_MAX) -> None:
        """Opens it for appending and puts it behind standard output and error. Raises OSError."""
        self._path = path
        self._bytes_max = bytes_max
        self._handle: asyncio.TimerHandle | None = None
        self._redirect()

    def start(self) -> None:
        """Begins to look at the size, on the running loop."""
        self._handle = asyncio.get_running_loop().call_later(CHECK_S, self._look)

    def stop(self) -> None:
        """Ends looking. Harmless when it never began."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def rotate_when_full(self) -> bool:
        """Starts a new file when this one is full; returns whether it did.

        Between the rename and the redirection lines go to the old file; none is lost.
        """
        try:
            if os.fstat(1).st_size <= self._bytes_max:
                return False
            os.replace(self._path, f"{self._path}.1")  # noqa: PTH105 - no pathlib in a server for one call
            self._redirect()
        except OSError:
            # A full disk or a directory that was wiped must not end the service over its log.
            return False
        return True

    def _look(self) -> None:
        self.rotate_when_full()
        self.start()

    def _redirect(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
