"""How requests are refused: a gRPC status, a sentence, and whether it is sure that nothing happened."""

from grpc import StatusCode

from cluster.clients.kv import KvError


class Refused(Exception):
    """Carries a refusal up to whoever answers the client."""

    def __init__(self, code: StatusCode, message: str, *, definite: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.definite = definite


class SessionGone(Refused):
    """The session is over."""

    def __init__(self, message: str) -> None:
        super().__init__(StatusCode.NOT_FOUND, message)


class Superseded(Refused):
    """Another stream has gone on with the session."""

    def __init__(self) -> None:
        super().__init__(StatusCode.UNAVAILABLE, "another stream has gone on with this session")


def invalid(message: str) -> Refused:
    """The request makes no sense, whatever the state."""
    return Refused(StatusCode.INVALID_ARGUMENT, message)


def of_kv(error: KvError) -> Refused:
    """What a client is told when kv refused or did not answer."""
    if error.code is StatusCode.NOT_FOUND and "lease" in error.message:
        return SessionGone("the session is over: its lease has ended")
    return Refused(StatusCode.UNAVAILABLE, f"kv: {error.message}", definite=error.definite)
