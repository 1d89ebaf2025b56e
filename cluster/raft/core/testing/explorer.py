"""Runs a group through random faults and judges it.

Every decision is drawn from one source, so a seed replays a run. Messages are delivered in any order, lost and sent
twice; links are cut one way or both; disks are slow, each in its own time; crashes lose what was not synced; logs are
compacted; leadership is handed around; the membership changes; disks are lost, but no more at a time than a majority
leaves over. At the end all is healed, and the group must come to
rest with everything committed everywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cluster.raft.core.config import RaftConfig
from cluster.raft.core.configuration import ChangeKind, ConfigurationChange, MemberChange
from cluster.raft.core.errors import ProposalDropped, ReadDropped
from cluster.raft.core.recovering import Witnesses
from cluster.raft.core.testing.checker import Violation
from cluster.raft.core.testing.member import Member
from cluster.raft.core.testing.network import Network
from cluster.raft.core.types import NO_NODE, Configuration, Stage

HEAL_TICKS_MAX = 300
"""Ticks within which a healed group must have come to rest."""
MESSAGES_MAX = 400
"""More on their way than this, and the oldest ones are lost."""
LOG_CHECK_STEPS = 250


@dataclass(frozen=True, slots=True)
class Faults:
    """How often, in thousandths of all steps; what is left over is ticks, deliveries, disks and work."""

    drop: int = 15
    duplicate: int = 15
    crash: int = 6
    cut: int = 6
    compact: int = 8
    transfer: int = 3
    reconfigure: int = 3
    reads: int = 40
    wipe: int = 0
    """A member loses its disk; not to be had with `reconfigure`, under which it is open how many may."""


class Explorer:
    """One run of one seed. `draw(low, high)` draws from [low, high)."""

    def __init__(
        self,
        draw: Callable[[int, int], int],
        configs: list[RaftConfig],
        configuration: Configuration,
        faults: Faults | None = None,
    ) -> None:
        self.draw = draw
        self.faults = faults if faults is not None else Faults()
        self.network = Network(
            configs, configuration, draw, eager_log=bool(draw(0, 2)), first_start=self.faults.wipe > 0
        )
        self.members = list(self.network.members.values())
        if self.faults.wipe and draw(0, 2):
            # The other half of the seeds misbehaves from the first start on, and may spend all its steps on it.
            self.network.tick(2)
        self.wiped = 0
        self._counter = 0
        self._schedule: list[Callable[[], None]] = []
        for action, weight in (
            (self._drop, self.faults.drop),
            (self._duplicate, self.faults.duplicate),
            (self._crash, self.faults.crash),
            (self._cut, self.faults.cut),
            (self._compact, self.faults.compact),
            (self._transfer, self.faults.transfer),
            (self._reconfigure, self.faults.reconfigure),
            (self._read, self.faults.reads),
            (self._wipe, self.faults.wipe),
            (self._propose, 60),
            (self._tick, 140),
            (self._take_ready, 180),
            (self._finish_write, 180),
        ):
            self._schedule += [action] * weight
        self._schedule += [self._deliver] * max(1, 1000 - len(self._schedule))

    def run(self, steps: int) -> None:
        """Misbehaves for `steps` steps, then heals. Raises Violation, or InvariantBroken from a member."""
        schedule, draw = self._schedule, self.draw
        for step in range(steps):
            schedule[draw(0, len(schedule))]()
            if step % LOG_CHECK_STEPS == 0:
                self._check_logs()
        self._check_logs()
        self.heal()

    def _check_logs(self) -> None:
        self.network.checker.check_logs([member.durable for member in self.members])

    def _any_member(self) -> Member:
        return self.members[self.draw(0, len(self.members))]

    # What a healthy group does, in any order

    def _tick(self) -> None:
        self._any_member().raft.tick()

    def _deliver(self) -> None:
        messages = self.network.messages
        if not messages:
            return
        if len(messages) > MESSAGES_MAX:
            self.network.lose(messages.pop(0))
        # Mostly in order, as a stream is; sometimes not, as several are.
        place = self.draw(0, len(messages)) if self.draw(0, 4) == 0 else 0
        message = messages.pop(place)
        if (message.source, message.target) in self.network.cut:
            self.network.lose(message)
        else:
            self.network.deliver(message)

    def _take_ready(self) -> None:
        member = self._any_member()
        taken = member.take_ready()
        if taken is not None:
            self.network.send(taken[1])
        if self.draw(0, 2):
            member.apply()

    def _finish_write(self) -> None:
        member = self._any_member()
        if member.under_way:
            self.network.send(member.finish_write())

    def _propose(self) -> None:
        count = self.draw(1, 4)
        commands = [b"%d" % (self._counter + i) for i in range(count)]
        self._counter += count
        try:
            self._any_member().raft.propose(commands)
        except ProposalDropped:
            return

    def _read(self) -> None:
        self._counter += 1
        try:
            self._any_member().read(b"r%d" % self._counter)
        except ReadDropped:
            return

    # What goes wrong, and what operators do

    def _drop(self) -> None:
        messages = self.network.messages
        if messages:
            self.network.lose(messages.pop(self.draw(0, len(messages))))

    def _duplicate(self) -> None:
        messages = self.network.messages
        if messages:
            messages.append(messages[self.draw(0, len(messages))])

    def _crash(self) -> None:
        member = self._any_member()
        member.crash(self.draw(0, len(member.under_way) + 1), keep_lazy=bool(self.draw(0, 2)))

    def _wipe(self) -> None:
        member = self._any_member()
        spares = Witnesses.of(len(self.members)).spares
        if sum(other.lost for other in self.members if other is not member) < spares:
            member.wipe(self.network.next_life())
            self.wiped += 1

    def _cut(self) -> None:
        choice = self.draw(0, 5)
        if choice == 0:
            self.network.isolate(self._any_member().config.member_id)
        elif choice == 1:
            # The leader is the one worth cutting off: that is how two members come to think that they lead.
            leader = self.network.leader
            if leader is not None:
                self.network.isolate(leader.config.member_id)
        elif choice == 2:
            self.network.cut.add((self._any_member().config.member_id, self._any_member().config.member_id))
        else:
            self.network.heal()

    def _compact(self) -> None:
        self._any_member().compact(trailing=self.draw(0, 6))

    def _transfer(self) -> None:
        self._any_member().raft.transfer_leadership(self._any_member().config.member_id)

    def _reconfigure(self) -> None:
        leader = self.network.leader
        if leader is None:
            return
        kinds = (ChangeKind.ADD_VOTER, ChangeKind.ADD_VOTER, ChangeKind.ADD_LEARNER, ChangeKind.REMOVE)
        changes = tuple(
            MemberChange(kinds[self.draw(0, len(kinds))], self._any_member().config.member_id)
            for _ in range(self.draw(1, 4))
        )
        try:
            leader.raft.propose_configuration(ConfigurationChange(changes))
        except ProposalDropped:
            return

    # The end

    def heal(self) -> None:
        """All faults end: the group must elect a leader, commit, and agree."""
        network = self.network
        network.heal()
        network.settle()
        for _ in range(HEAL_TICKS_MAX):
            network.tick()
            if self._at_rest():
                break
        else:
            states = "\n".join(member.raft.describe() for member in self.members)
            raise Violation(f"liveness: not at rest {HEAL_TICKS_MAX} ticks after healing\n{states}")
        leader = network.leader
        assert leader is not None
        before = leader.raft.commit_index
        leader.raft.propose([b"last"])
        network.settle()
        if leader.raft.commit_index <= before:
            raise Violation(f"liveness: a healed leader does not commit\n{leader.raft.describe()}")
        self._check_logs()
        voters = leader.raft.configuration.voters
        network.checker.check_durable([network.members[voter].durable for voter in voters], len(voters))

    def _at_rest(self) -> bool:
        leader = self.network.leader
        if leader is None or leader.raft.commit_index != leader.raft.last_index:
            return False
        if leader.raft.transfer_target != NO_NODE:
            return False
        if leader.raft.configuration.voters_outgoing or leader.raft.applied_index != leader.raft.last_index:
            return False
        return all(
            self.network.members[member].applied_index == leader.applied_index
            and self.network.members[member].raft.standing.stage is Stage.SETTLED
            and progress.counts
            for member, progress in leader.raft.progress.items()
        )


def group(size: int, **settings: object) -> tuple[list[RaftConfig], Configuration]:
    """Members 1 to `size`, all of them voters, with the same settings."""
    ids = range(1, size + 1)
    return [RaftConfig(member, **settings) for member in ids], Configuration(frozenset(ids))  # type: ignore[arg-type]
