"""What is refused, with Consul's status code and words where its clients look at them."""

from services.registry.interface import Exists, Invalid, NotFound, RegistryError, Unavailable, WrongKind

NO_LEADER = "No cluster leader"
"""What Consul says when its servers cannot be written to; clients look for it to know that they may try again."""


class Refused(Exception):
    """Ends a request with a status and a text."""

    def __init__(self, status: int, message: str, *, allow: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.allow = allow
        """For status 405: the methods that there are."""


def refusal(error: RegistryError) -> Refused:
    """What an error of the registry is over HTTP.

    Consul answers 500 when it has no leader. A write that may have happened does not say so in its words: that
    sentence would tell a client that it has not.
    """
    match error:
        case Invalid() | Exists() | WrongKind():
            return Refused(400, str(error))
        case NotFound():
            return Refused(404, str(error))
        case Unavailable(definite=True):
            return Refused(500, NO_LEADER)
        case Unavailable():
            return Refused(500, f"rpc error: the write may or may not have happened: {error}")
        case _:
            return Refused(500, str(error))
