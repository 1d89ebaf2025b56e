"""The public face of the core: what a driver calls. The signatures are settled; the bodies follow."""

from collections.abc import Callable, Mapping, Sequence

from cluster.raft.core.config import RaftConfig
from cluster.raft.core.configuration import ConfigurationChange
from cluster.raft.core.storage import LogStorage
from cluster.raft.core.tracker.progress import Progress
from cluster.raft.core.types import Configuration, Entry, HardState, Message, Ready, Role


class Raft:
    """One member of one group. Not safe for threads; every call is synchronous and short.

    A driver's turn: feed `tick`, `step`, `propose`, `read_index`; then, once a turn, `if has_ready(): ready()`.
    Whatever was proposed between two Readys travels in one APPEND per follower, so ask for a Ready once a turn and
    not after every proposal. After `persisted` and `applied` there may be a new Ready.
    """

    def __init__(
        self,
        config: RaftConfig,
        storage: LogStorage,
        hard_state: HardState,
        configuration: Configuration,
        applied: int,
        random: Callable[[int, int], int],
    ) -> None:
        """Starts, or restarts, a member as a follower.

        `configuration` is the one in force at `applied`; `random(low, high)` draws from [low, high).
        """
        raise NotImplementedError

    def tick(self) -> None:
        """One tick of the driver's clock."""
        raise NotImplementedError

    def step(self, message: Message) -> None:
        """Takes one message of a peer. Messages of past terms and unknown members are dropped here."""
        raise NotImplementedError

    def campaign(self) -> None:
        """Starts an election now instead of at the election timeout."""
        raise NotImplementedError

    def propose(self, commands: Sequence[bytes]) -> None:
        """Appends commands (leader) or forwards them (follower). Raises ProposalDropped, which is definite."""
        raise NotImplementedError

    def propose_configuration(self, change: ConfigurationChange) -> None:
        """Proposes a change of the membership. Raises ProposalDropped."""
        raise NotImplementedError

    def apply_configuration(self, entry: Entry) -> Configuration:
        """To be called when applying a committed CONFIGURATION entry; returns the membership from here on."""
        raise NotImplementedError

    def read_index(self, context: bytes) -> None:
        """Asks for a linearizable read; a ReadState with this context follows, or nothing. Raises ReadDropped."""
        raise NotImplementedError

    def transfer_leadership(self, target: int) -> None:
        """Hands leadership to `target` once it has caught up; given up after an election timeout."""
        raise NotImplementedError

    def report_unreachable(self, member: int) -> None:
        """The transport lost messages to `member`: probe it instead of streaming at it."""
        raise NotImplementedError

    def report_snapshot(self, member: int, ok: bool) -> None:
        """The driver finished, or gave up, streaming a snapshot to `member`."""
        raise NotImplementedError

    def has_ready(self) -> bool:
        """Whether `ready` would hand out any work."""
        raise NotImplementedError

    def ready(self) -> Ready:
        """Hands out the work that has come up since the last call."""
        raise NotImplementedError

    def persisted(self, ready: Ready) -> None:
        """This Ready is synced and its entries and snapshot are in the LogStorage. Call in order, for every Ready."""
        raise NotImplementedError

    def applied(self, index: int) -> None:
        """The state machine has applied everything up to `index`."""
        raise NotImplementedError

    @property
    def member_id(self) -> int:
        """This member's own id."""
        raise NotImplementedError

    @property
    def term(self) -> int:
        """The current term."""
        raise NotImplementedError

    @property
    def role(self) -> Role:
        """What this member is now."""
        raise NotImplementedError

    @property
    def leader(self) -> int:
        """The leader's id, NO_NODE when none is known."""
        raise NotImplementedError

    @property
    def commit_index(self) -> int:
        """The highest index known to be committed."""
        raise NotImplementedError

    @property
    def applied_index(self) -> int:
        """The highest index that the driver reported as applied."""
        raise NotImplementedError

    @property
    def last_index(self) -> int:
        """The newest entry's index, persisted or not."""
        raise NotImplementedError

    @property
    def configuration(self) -> Configuration:
        """The membership in force."""
        raise NotImplementedError

    @property
    def progress(self) -> Mapping[int, Progress]:
        """What a leader knows of each member. Read only; of no meaning on others."""
        raise NotImplementedError

    @property
    def transfer_target(self) -> int:
        """Whom leadership is being handed to, NO_NODE usually."""
        raise NotImplementedError

    def describe(self) -> str:
        """The state in a few lines, for people."""
        raise NotImplementedError
