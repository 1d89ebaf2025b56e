"""What can come of asking for a lock."""

import grpc


class LockError(Exception):
    """The root of them all."""


class NotGranted(LockError):
    """The lock was not free in time. Nothing is held, and nothing waits."""


class LockLost(LockError):
    """A grant ended before it was released. What was done since `reason` came about may not have been protected."""

    def __init__(self, name: str, token: int, reason: str) -> None:
        super().__init__(f"the grant {token} of {name!r} was lost: {reason}")
        self.name = name
        self.token = token
        self.reason = reason


class LockRefused(LockError):
    """The service refuses the request as it is; asking again brings the same."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


class LockUnavailable(LockError):
    """Nobody answered in time."""

    def __init__(self, message: str, *, definite: bool) -> None:
        super().__init__(message)
        self.definite = definite
        """It did not happen and never will. When in doubt, False."""
