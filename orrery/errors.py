"""What goes wrong for the operator."""


class OperatorError(Exception):
    """Printed as it is, without a trace: says what is wrong and what to do about it. The command exits with `code`."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
