"""Who waits for what: the picture of a run that stands still."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from runtime.sim.handles import SimTask
from runtime.sim.incarnation import Incarnation

FRAMES_MAX = 12
"""Frames shown of one task, the innermost ones."""
TASKS_MAX = 100
"""Tasks shown of one run."""


def describe_waiting(incarnations: Iterable[Incarnation]) -> str:
    """Every task that has not ended, by host, with its stack and what it waits for."""
    lines = []
    shown = 0
    for incarnation in incarnations:
        tasks = [task for task in incarnation.tasks if not task.done()]
        if not incarnation.alive or not tasks:
            continue
        lines.append(f"{incarnation.name}{' (paused)' if incarnation.paused else ''}:")
        for task in tasks:
            shown += 1
            if shown <= TASKS_MAX:
                lines += _describe_task(task)
    if shown > TASKS_MAX:
        lines.append(f"and {shown - TASKS_MAX} tasks more")
    return "\n".join(lines) or "no task is left"


def _describe_task(task: SimTask[Any]) -> list[str]:
    waiter: object = getattr(task, "_fut_waiter", None)
    if isinstance(waiter, SimTask):
        wants = f"waits for the task {waiter.get_name()} of {waiter.owner.name}"
    elif isinstance(waiter, asyncio.Future):
        wants = "waits for a future"
    else:
        wants = "is ready to run"
    return [f"  {task.get_name()} {wants}", *(f"    {frame}" for frame in stack(task.get_coro())[-FRAMES_MAX:])]


def stack(work: object) -> list[str]:
    """Where a suspended coroutine stands, outermost frame first, down through what it awaits."""
    frames: list[str] = []
    at = work
    while at is not None and len(frames) < 1000:
        frame = getattr(at, "cr_frame", None) or getattr(at, "gi_frame", None) or getattr(at, "ag_frame", None)
        if frame is None:
            break
        code = frame.f_code
        path = "/".join(code.co_filename.split("/")[-3:])
        frames.append(f"{path}:{frame.f_lineno} in {code.co_qualname}")
        following: Coroutine[Any, Any, Any] | None = getattr(at, "cr_await", None) or getattr(at, "gi_yieldfrom", None)
        at = following if following is not None else getattr(at, "ag_await", None)
    return frames
