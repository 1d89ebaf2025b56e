"""How calls to the registry fail, and what the caller knows then."""

import grpc


class RegistryError(Exception):
    """A call that did not bring what was asked for."""

    def __init__(self, message: str, *, definite: bool) -> None:
        super().__init__(message)
        self.message = message
        self.definite = definite
        """It did not happen and never will. When in doubt, False."""


class RegistryRefused(RegistryError):
    """A process of the registry refused: asking again brings the same."""

    def __init__(self, code: grpc.StatusCode, message: str, *, definite: bool) -> None:
        super().__init__(message, definite=definite)
        self.code = code


class RegistryUnavailable(RegistryError):
    """No process of the registry gave an answer."""


class RegistryUnknown(RegistryUnavailable):
    """No process of the registry is known to be asked."""

    def __init__(self) -> None:
        super().__init__("no process of the registry is known", definite=True)
