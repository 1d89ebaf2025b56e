"""Names into addresses, few at a time.

Event loops ask the system's resolver in a small pool of threads that the whole process shares (four with uvloop). A DNS
that hangs would let probes take all of them, and this process could not find kv by its name any more. So at most
LOOKUPS_MAX threads are ever taken: a lookup that nobody waits for any more counts until its thread is free again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import TypeAlias

LOOKUPS_MAX = 2
ADDRESSES_MAX = 4
"""Addresses of one name that are tried."""

Lookup: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a name. Raises OSError."""


async def ask_system(host: str) -> Sequence[str]:
    """The addresses of a name, best first, by the system's resolver. Raises OSError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no name that DNS could have") from error
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class Resolver:
    """Looks names up. Belongs to one event loop."""

    def __init__(self, lookup: Lookup = ask_system, lookups_max: int = LOOKUPS_MAX) -> None:
        self._lookup = lookup
        self._room = asyncio.Semaphore(lookups_max)
        self._under_way: dict[str, asyncio.Task[Sequence[str]]] = {}

    async def addresses(self, host: str) -> Sequence[str]:
        """The addresses of a name, or of a number itself. Raises OSError. Who asks for the same name waits together."""
        try:
            return (str(ip_address(host)),)
        except ValueError:
            pass
        task = self._under_way.get(host)
        if task is None:
            await self._room.acquire()
            task = self._under_way.get(host)
            if task is not None:
                self._room.release()
            else:
                task = self._under_way[host] = asyncio.get_running_loop().create_task(self._ask(host))
                task.add_done_callback(lambda done: self._ended(host, done))
        return (await asyncio.shield(task))[:ADDRESSES_MAX]

    async def _ask(self, host: str) -> Sequence[str]:
        return await self._lookup(host)

    def _ended(self, host: str, task: "asyncio.Task[Sequence[str]]") -> None:
        del self._under_way[host]
        self._room.release()
        if not task.cancelled():
            task.exception()  # looked at: whoever asked may have given up
