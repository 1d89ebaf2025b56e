"""Runs a process's main coroutine: signals, a bounded stop, and exit codes that say what happened."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable

import uvloop

EXIT_CLEAN = 0
"""Stopped because it was asked to, or had nothing more to do."""
EXIT_SOFTWARE = 70
"""An unhandled error; its story is in the log (EX_SOFTWARE of sysexits.h)."""
EXIT_STOP_TIMEOUT = 75
"""Was asked to stop and did not within the bound; what was synced is safe (EX_TEMPFAIL)."""
EXIT_INTERRUPTED = 130
"""A second signal: ended at once, without waiting for anything."""

_GC_THRESHOLDS = (10_000, 20, 10)
"""Net allocations, and rounds of the younger generation, between collections; Python's own are 700, 10, 10. Almost
nothing that a server allocates dies as a cycle, so looking often finds nothing. Measured on 600,000 puts into kv's
state machine: 0.43 s instead of 2.09 s in the collector, and 55 ms instead of 437 ms in its longest pause."""

_log = logging.getLogger("orrery.process")


class StopSignal:
    """Set once, when the process shall stop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Asks for the stop; the first reason stays."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether the process shall stop."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Returns when the process shall stop."""
        await self._event.wait()


def run_process(main: Callable[[StopSignal], Awaitable[None]], stop_timeout_s: float) -> int:
    """Runs `main` on uvloop and gives the exit code; hand it to `sys.exit`.

    SIGTERM and SIGINT set the StopSignal; `main` then has `stop_timeout_s` seconds to return before it is cancelled,
    and as long again to end after that. A second signal ends the process at once.
    """
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_supervise(main, stop_timeout_s))


async def _supervise(main: Callable[[StopSignal], Awaitable[None]], stop_timeout_s: float) -> int:
    loop = asyncio.get_running_loop()
    stop = StopSignal()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set:
            _log.warning("second signal, ending at once", extra={"signal": number.name})
            os._exit(EXIT_INTERRUPTED)
        _log.info("stopping", extra={"signal": number.name})
        stop.set(number.name)

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, on_signal, number)
    work = loop.create_task(_call(main, stop), name="main")
    asked = loop.create_task(stop.wait(), name="stop-signal")
    try:
        await asyncio.wait([work, asked], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            await asyncio.wait([work], timeout=stop_timeout_s)
        if not work.done():
            _log.error("did not stop in time", extra={"stop_timeout_s": stop_timeout_s, "tasks": _task_names()})
            work.cancel()
            await asyncio.wait([work], timeout=stop_timeout_s)
            if not work.done():
                # A task that does not even end by cancellation would hang the loop's own shutdown for ever.
                os._exit(EXIT_STOP_TIMEOUT)
            return EXIT_STOP_TIMEOUT
        return _judge(work)
    finally:
        asked.cancel()
        for number in signals:
            loop.remove_signal_handler(number)


async def _call(main: Callable[[StopSignal], Awaitable[None]], stop: StopSignal) -> None:
    await main(stop)


def _judge(work: "asyncio.Task[None]") -> int:
    if work.cancelled():
        _log.critical("the main task was cancelled from within")
        return EXIT_SOFTWARE
    error = work.exception()
    if error is None:
        return EXIT_CLEAN
    _log.critical("unhandled error, the process ends", exc_info=error)
    return EXIT_SOFTWARE


def _task_names() -> list[str]:
    return sorted(task.get_name() for task in asyncio.all_tasks())
