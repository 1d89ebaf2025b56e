"""A `Replicated` without consensus: the public fake for the tests of services.

It applies every command at once to the one state machine it holds, and can be told to fail in each way in which a
real replica fails: with an error before or after the command was applied, by losing its leader, by holding everything
back, by stopping.

    replica = LocalReplica(machine)
    result = await replica.propose(command, timeout_s=1)
    replica.fail_next(ProposalTimeout("lost"), applied=True)   # the next one is applied, its caller not told
    replica.set_leader(0)                                      # no leader: proposals wait, then raise NoLeader
    replica.set_leader(replica.member_id)                      # and go on
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from cluster.replica.interface import (
    Leadership,
    NoLeader,
    ProposalTimeout,
    ReadTimeout,
    ReplicaError,
    ReplicaStopped,
    StateMachine,
    Status,
)

ResultT = TypeVar("ResultT")


class LocalReplica(Generic[ResultT]):
    """One replica that is always up to date, because it is the only one."""

    def __init__(self, state_machine: StateMachine[ResultT], *, member_id: int = 1) -> None:
        self.log: list[tuple[int, bytes]] = []
        """Every command applied, with its index: replay it into a second state machine to test determinism."""
        self.read_barriers = 0
        """How many barriers were passed."""
        self.recovery = ""
        """See Replicated; a test may set it."""
        self._machine = state_machine
        self._member_id = member_id
        self._applied = 0
        self._leadership = Leadership(term=1, leader=member_id, is_self=True)
        self._callbacks: list[Callable[[Leadership], None]] = []
        self._failures: deque[tuple[ReplicaError, bool]] = deque()
        self._running = asyncio.Event()
        self._running.set()
        self._held = False
        self._stopped = False

    async def propose(self, command: bytes, *, timeout_s: float) -> ResultT:
        """Applies the command at once. Raises what `fail_next` was told, NoLeader, or ReplicaStopped."""
        if not self._running.is_set():
            await self._wait_until_running(timeout_s, ProposalTimeout if self._held else NoLeader)
        self._check_stopped()
        failure = self._failures.popleft() if self._failures else None
        if failure is not None and not failure[1]:
            raise failure[0]
        self._applied += 1
        self.log.append((self._applied, command))
        (result,) = self._machine.apply([(self._applied, command)])
        if failure is not None:
            raise failure[0]
        # Others get a turn before the caller sees the result, as they do with real consensus.
        await asyncio.sleep(0)
        return result

    async def read_barrier(self, *, timeout_s: float) -> None:
        """Passes at once. Raises ReadTimeout while there is no leader, or ReplicaStopped."""
        if not self._running.is_set():
            await self._wait_until_running(timeout_s, ReadTimeout)
        self._check_stopped()
        await asyncio.sleep(0)
        self.read_barriers += 1

    @property
    def member_id(self) -> int:
        """This replica's own id."""
        return self._member_id

    @property
    def status(self) -> Status:
        """Where this replica stands now."""
        leadership = self._leadership
        return Status(leadership.term, leadership.leader, self._applied, self._applied, self._applied)

    @property
    def leadership(self) -> Leadership:
        """Who leads now."""
        return self._leadership

    def on_leadership(self, callback: Callable[[Leadership], None]) -> None:
        """Calls back soon with the present leadership, and then at each change, in order."""
        self._callbacks.append(callback)
        asyncio.get_running_loop().call_soon(callback, self._leadership)

    def fail_next(self, error: ReplicaError, *, applied: bool = False) -> None:
        """Lets one further proposal raise `error`; with `applied`, after it took effect. Calls queue up."""
        self._failures.append((error, applied))

    def set_leader(self, leader: int) -> None:
        """Starts a new term under `leader` (a member id; 0: nobody). Under another member it still serves."""
        self._leadership = Leadership(self._leadership.term + 1, leader, leader == self._member_id)
        self._update_running()
        for callback in self._callbacks:
            asyncio.get_running_loop().call_soon(callback, self._leadership)

    def hold(self) -> None:
        """Lets proposals and barriers wait, as in a partition, until `release`."""
        self._held = True
        self._update_running()

    def release(self) -> None:
        """Ends `hold`: what waits goes on in the order in which it came."""
        self._held = False
        self._update_running()

    def stop(self) -> None:
        """Shuts down: everything that waits, and every later call, raises ReplicaStopped."""
        self._stopped = True
        self._update_running()

    async def copy_to(self, other: StateMachine[ResultT]) -> None:
        """Restores `other` from a snapshot of this replica's state machine, as a lagging replica would be."""

        async def chunks() -> AsyncIterator[bytes]:
            for chunk in self._machine.snapshot():
                await asyncio.sleep(0)
                yield chunk

        await other.restore(chunks())

    def _update_running(self) -> None:
        if self._stopped or (not self._held and self._leadership.leader != 0):
            self._running.set()
        else:
            self._running.clear()

    def _check_stopped(self) -> None:
        if self._stopped:
            raise ReplicaStopped("the replica is stopped")

    async def _wait_until_running(self, timeout_s: float, error: type[ReplicaError]) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._running.wait()
        except TimeoutError:
            raise error(f"not served within {timeout_s} s") from None
