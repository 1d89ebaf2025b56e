"""The replicated state machine as a service sees it."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class ReplicaError(Exception):
    """A request to the replicated state machine did not succeed."""

    definite: bool = False
    """True: it did not happen and never will. False: it may have happened, or may happen still."""


class NoLeader(ReplicaError):
    """No leader is known, and none appeared in time. The command was never handed to consensus."""

    definite = True


class Overloaded(ReplicaError):
    """Too much is proposed and not yet applied. The command was never handed to consensus."""

    definite = True


class ProposalTimeout(ReplicaError):
    """The outcome was not known in time. The command may still be applied."""


class ReadTimeout(ReplicaError):
    """No leader confirmed the read in time. Reads have no effect, so retrying is safe."""

    definite = True


class ReplicaStopped(ReplicaError):
    """The process is shutting down. A command under way may still be applied by the others."""


class StateMachine(Protocol[ResultT]):
    """What is replicated. All replicas apply the same commands in the same order, so it must be deterministic:
    no clock, no randomness, no iteration over unordered sets that shows in its state or results.
    """

    def apply(self, commands: Sequence[tuple[int, bytes]]) -> list[ResultT]:
        """Applies (log index, command) pairs in order; one result each, in the same order.

        A command that is invalid in the present state must yield a result that says so, never an exception: an
        exception here is a bug, and ends the process.
        """
        ...

    def snapshot(self) -> Iterator[bytes]:
        """The whole state as of now, as chunks of about 64 KiB to 1 MiB.

        `apply` may run between two chunks; the snapshot must not see it. The replica closes the iterator
        (generator `close`) when it is done or gives up, and runs at most one at a time.
        """
        ...

    async def restore(self, chunks: AsyncIterator[bytes]) -> None:
        """Replaces the whole state by a snapshot. Raises ValueError when the chunks are not one."""
        ...


class DurableState(Protocol):
    """The disk under a state machine that keeps its state there. The Raft log is its write-ahead log (DESIGN 4).

    What `apply` changed and what `record` is told after it become durable together or not at all, and never before
    what came earlier. After a crash the state is that of some `record`, and the log is applied from there.
    """

    @property
    def index(self) -> int:
        """The log index of the state that was found at opening; 0 when there was none."""
        ...

    @property
    def note(self) -> bytes:
        """What `record` was told with it."""
        ...

    def record(self, index: int, note: bytes) -> None:
        """Ends a turn: everything applied until now belongs to `index`, and `note` to it."""
        ...

    async def restored(self, index: int, note: bytes) -> None:
        """The state was replaced by the one at `index`: makes that durable in place of the old one."""
        ...

    async def persist(self) -> None:
        """Makes everything recorded so far durable. Raises OSError."""
        ...

    @property
    def must_pause(self) -> bool:
        """Whether nothing more should be applied until `pause` has returned."""
        ...

    async def pause(self) -> None:
        """Waits until the disk has caught up. Raises OSError."""
        ...


class Leadership(NamedTuple):
    """Who leads, as far as this replica knows."""

    term: int
    leader: int
    """Member id, 0 when none is known."""
    is_self: bool


class Status(NamedTuple):
    """A replica's place in the log."""

    term: int
    leader: int
    commit_index: int
    applied_index: int
    last_index: int


class Replicated(Protocol[ResultT_co]):
    """One replica of one group: the way of every command and every consistent read of a service."""

    async def propose(self, command: bytes, *, timeout_s: float) -> ResultT_co:
        """Commits a command and returns the result of applying it *here*.

        Followers forward to the leader. A proposal that is lost with a leader is proposed again under the same
        request id until the timeout, and applied at most once. Raises ReplicaError.
        """
        ...

    async def read_barrier(self, *, timeout_s: float) -> None:
        """Returns once this replica's state reflects every write acknowledged anywhere before the call.

        ReadIndex (Raft thesis, section 6.4); concurrent calls share one round. Raises ReplicaError.
        """
        ...

    @property
    def member_id(self) -> int:
        """This replica's own id, never 0."""
        ...

    @property
    def status(self) -> Status:
        """Where this replica stands now."""
        ...

    @property
    def recovery(self) -> str:
        """What a replica waits for whose log is new or was lost, in one line for people; empty for all others.

        Such a one neither votes nor leads. Its state may be older than what it has shown before: it must not be read
        without a barrier.
        """
        ...

    @property
    def leadership(self) -> Leadership:
        """Who leads now."""
        ...

    def on_leadership(self, callback: Callable[[Leadership], None]) -> None:
        """Calls back on the event loop at each change of leader or term, in order; first with the present one."""
        ...
