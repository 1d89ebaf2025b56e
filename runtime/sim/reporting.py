"""How the simulated loop takes errors that nobody handled: the first one ends the run."""

import asyncio
from collections.abc import Callable
from typing import Any

from runtime.sim.errors import NotSimulated
from runtime.sim.incarnation import Incarnation
from runtime.sim.unsupported import RefusingLoop

ExceptionContext = dict[str, Any]
ExceptionHandler = Callable[[asyncio.AbstractEventLoop, ExceptionContext], object]


class ReportingLoop(RefusingLoop):
    """A loop that hears of errors, and is ended by them."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: BaseException | None = None
        """The first error that nobody handled."""
        self._exception_handler: ExceptionHandler | None = None

    def call_exception_handler(self, context: ExceptionContext) -> None:
        """Takes an error that nobody handled: it ends the run, unless a handler was set or its host is dead."""
        owner = context.get("owner") or getattr(context.get("future") or context.get("task"), "owner", None)
        if isinstance(owner, Incarnation) and not owner.alive:
            return
        if self._exception_handler is not None:
            self._exception_handler(self, context)
        else:
            self.default_exception_handler(context)

    def default_exception_handler(self, context: ExceptionContext) -> None:
        """Ends the run."""
        who = f" ({', '.join(f'{key}={value!r}' for key, value in context.items() if key in ('task', 'future'))})"
        error = context.get("exception")
        self.fail(error if isinstance(error, BaseException) else RuntimeError(context.get("message", "") + who))
        if isinstance(error, BaseException):
            error.add_note(f"nobody handled it: {context.get('message')}{who}")

    def fail(self, error: BaseException) -> None:
        """Ends the run with this error, if it is the first."""
        if self.failure is None:
            self.failure = error
        self.stop()

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        """Hears of errors that nobody handled, instead of ending the run; None restores that."""
        self._exception_handler = handler

    def get_exception_handler(self) -> ExceptionHandler | None:
        """What was set."""
        return self._exception_handler

    def get_debug(self) -> bool:
        """Always False: asyncio's debug mode measures real time."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """Raises NotSimulated when switched on."""
        if enabled:
            raise NotSimulated("debug mode")
