"""The group as one member sees it: the membership, each member's progress, and the votes of the ballot under way."""

from cluster.raft.core.quorum import joint
from cluster.raft.core.quorum.votes import VoteResult
from cluster.raft.core.tracker.inflights import Inflights
from cluster.raft.core.tracker.progress import Progress
from cluster.raft.core.types import Configuration


def members(configuration: Configuration) -> frozenset[int]:
    """Everyone that entries are sent to."""
    return configuration.voters | configuration.voters_outgoing | configuration.learners | configuration.learners_next


def describe_configuration(configuration: Configuration) -> str:
    """The membership in one line, such as `voters=(1 2 3)&&(1 2) learners=(4) autoleave`."""

    def draw(ids: frozenset[int]) -> str:
        return "(" + " ".join(map(str, sorted(ids))) + ")"

    text = "voters=" + draw(configuration.voters)
    if configuration.voters_outgoing:
        text += "&&" + draw(configuration.voters_outgoing)
    if configuration.learners:
        text += " learners=" + draw(configuration.learners)
    if configuration.learners_next:
        text += " learners_next=" + draw(configuration.learners_next)
    return text + (" autoleave" if configuration.auto_leave else "")


class Tracker:
    """Invariant: `progress` has exactly the members of `configuration`."""

    __slots__ = ("_inflight_bytes_max", "_inflight_messages_max", "configuration", "progress", "votes")

    def __init__(self, configuration: Configuration, inflight_messages_max: int, inflight_bytes_max: int) -> None:
        self._inflight_messages_max = inflight_messages_max
        self._inflight_bytes_max = inflight_bytes_max
        self.configuration = configuration
        self.progress: dict[int, Progress] = {}
        self.votes: dict[int, bool] = {}
        self.reset_progress(0)

    def new_progress(self, match: int, next_index: int, *, recent_active: bool = False) -> Progress:
        """A member's progress with this group's window."""
        window = Inflights(self._inflight_messages_max, self._inflight_bytes_max)
        return Progress(match, next_index, window, recent_active=recent_active)

    def reset_progress(self, last_index: int) -> None:
        """A new term: nothing is known of anyone but that they may have what we have."""
        self.progress = {member: self.new_progress(0, last_index + 1) for member in sorted(members(self.configuration))}

    def reset_votes(self) -> None:
        """A new ballot."""
        self.votes = {}

    def record_vote(self, member: int, granted: bool) -> VoteResult:
        """Notes an answer, the first one of each member, and returns how the ballot stands."""
        self.votes.setdefault(member, granted)
        return joint.vote_result(self.configuration.voters, self.configuration.voters_outgoing, self.votes)

    def committed(self) -> int:
        """The highest index on the disks of a quorum."""
        acknowledged = {member: progress.match for member, progress in self.progress.items() if progress.counts}
        return joint.committed_index(self.configuration.voters, self.configuration.voters_outgoing, acknowledged)

    def quorum_active(self, own_id: int) -> bool:
        """Whether a quorum, this member counted, was heard from since the last `reset_active`."""
        active = {
            member: (progress.recent_active and progress.counts) or member == own_id
            for member, progress in self.progress.items()
        }
        result = joint.vote_result(self.configuration.voters, self.configuration.voters_outgoing, active)
        return result is VoteResult.WON

    def reset_active(self) -> None:
        """Starts a new period of the quorum check."""
        for progress in self.progress.values():
            progress.recent_active = False

    def is_voter(self, member: int) -> bool:
        """Whether this member may vote and lead."""
        return member in self.configuration.voters or member in self.configuration.voters_outgoing

    def is_only_voter(self, member: int) -> bool:
        """Whether this member is a quorum by itself."""
        return (
            len(self.configuration.voters) == 1
            and member in self.configuration.voters
            and not (self.configuration.voters_outgoing)
        )

    def voters_but(self, member: int) -> list[int]:
        """All other voters of both halves, in order."""
        return sorted((self.configuration.voters | self.configuration.voters_outgoing) - {member})

    def describe(self) -> str:
        """A line a member."""
        lines = [describe_configuration(self.configuration)]
        lines += [f"{member}: {progress.describe()}" for member, progress in sorted(self.progress.items())]
        return "\n".join(lines)
