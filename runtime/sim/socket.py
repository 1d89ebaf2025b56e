"""What `get_extra_info("socket")` and `Server.sockets` give: names, and options that are taken and do nothing."""

import socket


class SimSocket:
    """Stands where asyncio would give a TransportSocket."""

    __slots__ = ("_local", "_remote", "family", "proto", "type")

    def __init__(self, local: tuple[str, int], remote: tuple[str, int] | None) -> None:
        self._local = local
        self._remote = remote
        self.family = socket.AF_INET
        self.type = socket.SOCK_STREAM
        self.proto = socket.IPPROTO_TCP

    def getsockname(self) -> tuple[str, int]:
        """The own address."""
        return self._local

    def getpeername(self) -> tuple[str, int]:
        """The other side's address. Raises OSError for a listening socket."""
        if self._remote is None:
            raise OSError("not connected")
        return self._remote

    def setsockopt(self, *arguments: object) -> None:
        """Takes every option; none has an effect here."""

    def getsockopt(self, *arguments: object) -> int:
        """Every option is 0."""
        return 0

    def fileno(self) -> int:
        """No descriptor stands behind it."""
        return -1
