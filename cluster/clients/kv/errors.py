"""How calls to kv fail, and what the caller knows then."""

import grpc


class KvError(Exception):
    """A call that did not bring an answer."""

    def __init__(self, code: grpc.StatusCode, message: str, *, definite: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.definite = definite
        """It did not happen and never will. When in doubt, False."""


class KvRefused(KvError):
    """A member refused: asking again brings the same."""


class KvUnavailable(KvError):
    """No member gave an answer in time."""
