"""Runs a group by commands in text and prints what comes of it; the cases of `datadriven` files.

Members are numbers. Without `settle` or `tick` nothing moves; `ready`, `persist` and `deliver` move single things.

    group 3 learners=(4) spare=(5) prevote=false checkquorum=false messagebytes=1 uncommitted=100
            safeguard_off=(name) first_start=true
    campaign 1 · tick 10 [members=(1,2)] · settle
    propose 1 a b · read 1 context · transfer 1 2 · reconfigure 1 v4 l5 r2 [joint=explicit]
    ready 1        take a Ready, send what may go at once, leave the disk at work
    persist 1      the oldest write of 1 is synced; send what waited for it
    apply 1        the state machine of 1 catches up
    deliver [1 2]  all messages on their way, or those from 1 to 2, once
    drop [1 2]     the same, lost
    isolate 1 · cut 1 2 · heal · crash 1 [kept=1] · compact 1 [trailing=2]
    wipe 1 [life=7]    1 loses its disk, and boots with an empty one
    state [1 2] · log 1 · commands 1 · reads 1 · recovery [1 2]
"""

from cluster.raft.core.config import RaftConfig, Safeguards
from cluster.raft.core.configuration import ChangeKind, ConfigurationChange, MemberChange, Transition
from cluster.raft.core.errors import ProposalDropped, ReadDropped
from cluster.raft.core.recovering import LIFE_CLOCK_SHIFT
from cluster.raft.core.testing.datadriven import Case
from cluster.raft.core.testing.member import Member
from cluster.raft.core.testing.network import Network
from cluster.raft.core.types import Configuration, Entry, Message, MessageKind, Ready, Standing, Statement

_KINDS = {"v": ChangeKind.ADD_VOTER, "l": ChangeKind.ADD_LEARNER, "r": ChangeKind.REMOVE, "u": ChangeKind.UPDATE}


def describe_entry(entry: Entry) -> str:
    """`index/term data`."""
    data = entry.data.decode("ascii", "replace") if entry.data.isascii() and entry.data.isalnum() else "-"
    return f"{entry.index}/{entry.term} {data}"


def describe_message(message: Message) -> str:
    """One line, with only those fields that say something."""
    text = f"{message.source}->{message.target} {message.kind.name} term={message.term}"
    if message.index or message.log_term:
        text += f" at={message.index}/{message.log_term}"
    if message.commit:
        text += f" commit={message.commit}"
    if message.reject:
        text += f" reject hint={message.reject_hint}"
    if message.snapshot is not None:
        text += f" snapshot={message.snapshot.index}/{message.snapshot.term}"
    if message.kind is MessageKind.JOIN_REPLY:
        text = f"{message.source}->{message.target} {Statement(message.index).name.lower()}"
    if message.withheld:
        text += " withheld"
    if message.kind is not MessageKind.HEARTBEAT and message.context.isalnum():
        text += f" context={message.context.decode()}"
    return text + (f" [{', '.join(map(describe_entry, message.entries))}]" if message.entries else "")


def describe_standing(standing: Standing) -> str:
    """Stage, life, and whom it knows; the clock's bits of lives only."""
    known = " ".join(f"{member}:{life >> LIFE_CLOCK_SHIFT}" for member, life in standing.known)
    notes = "all" if standing.complete else "not all"
    return f"{standing.stage.name.lower()} life={standing.life >> LIFE_CLOCK_SHIFT} knows {notes} ({known})"


def describe_ready(ready: Ready) -> str:
    """What a Ready asks for, a line each."""
    lines = []
    if ready.soft_state is not None:
        lines.append(f"{ready.soft_state.role.name.lower()}, leader {ready.soft_state.leader}")
    if ready.hard_state is not None:
        sync = "" if ready.must_sync else " (lazy)"
        state = ready.hard_state
        lines.append(f"hard state term={state.term} vote={state.vote} commit={state.commit}{sync}")
    if ready.snapshot is not None:
        lines.append(f"snapshot {ready.snapshot.index}/{ready.snapshot.term}")
    if ready.entries:
        lines.append("write " + ", ".join(map(describe_entry, ready.entries)))
    if ready.standing is not None:
        lines.append(f"standing {describe_standing(ready.standing)}")
    if ready.committed:
        lines.append("apply " + ", ".join(map(describe_entry, ready.committed)))
    lines += [f"read {state.context.decode()} at {state.index}" for state in ready.read_states]
    lines += ["now   " + describe_message(message) for message in ready.messages]
    lines += ["after " + describe_message(message) for message in ready.messages_after_persist]
    return "\n".join(lines) or "nothing"


class Script:
    """One group and the commands on it."""

    def __init__(self) -> None:
        self.network: Network | None = None

    def run(self, case: Case) -> str:
        """Runs one case; returns what it prints. Raises KeyError for an unknown command."""
        if case.command == "group":
            return self._group(case)
        assert self.network is not None, "the first command is `group`"
        return str(getattr(self, "_" + case.command)(case, self.network)) or "ok"

    def _group(self, case: Case) -> str:
        size = int(case.words[0])
        learners = frozenset(map(int, case.arguments.get("learners", ())))
        voters = frozenset(range(1, size + 1)) - learners
        spare = frozenset(map(int, case.arguments.get("spare", ())))
        off = dict.fromkeys(case.arguments.get("safeguard_off", ()), False)
        configs = [
            RaftConfig(
                member,
                election_ticks=10,
                pre_vote=case.arguments.get("prevote") != ("false",),
                check_quorum=case.arguments.get("checkquorum") != ("false",),
                entries_bytes_per_message_max=int(case.arguments.get("messagebytes", ("1000000",))[0]),
                uncommitted_bytes_max=int(case.arguments.get("uncommitted", ("1000000",))[0]),
                safeguards=Safeguards(**off),
            )
            for member in sorted(voters | learners | spare)
        ]
        self._draws = 0
        first_start = case.arguments.get("first_start") == ("true",)
        configuration = Configuration(voters - spare, learners=learners)
        self.network = Network(configs, configuration, self._draw, first_start=first_start)
        return "ok"

    def _draw(self, low: int, high: int) -> int:
        # Timeouts differ from draw to draw, but are the same in every run.
        self._draws += 1
        return low + (self._draws * 7) % (high - low)

    def _member(self, network: Network, case: Case) -> Member:
        return network.members[int(case.words[0])]

    def _campaign(self, case: Case, network: Network) -> str:
        self._member(network, case).raft.campaign()
        return ""

    def _tick(self, case: Case, network: Network) -> str:
        chosen = [int(word) for word in case.arguments.get("members", ())] or list(network.members)
        for _ in range(int(case.words[0])):
            for member in chosen:
                network.members[member].raft.tick()
            network.settle()
        return self._roles(network)

    def _settle(self, case: Case, network: Network) -> str:
        network.settle()
        return self._roles(network)

    @staticmethod
    def _roles(network: Network) -> str:
        return "\n".join(
            f"{member.config.member_id}: {member.raft.role.name.lower()} term={member.raft.term} "
            f"leader={member.raft.leader} last={member.raft.last_index} commit={member.raft.commit_index}"
            for member in network.members.values()
        )

    def _propose(self, case: Case, network: Network) -> str:
        try:
            self._member(network, case).raft.propose([word.encode() for word in case.words[1:]])
        except ProposalDropped as error:
            return f"dropped: {error}"
        return ""

    def _read(self, case: Case, network: Network) -> str:
        try:
            self._member(network, case).read(case.words[1].encode())
        except ReadDropped as error:
            return f"dropped: {error}"
        return ""

    def _transfer(self, case: Case, network: Network) -> str:
        self._member(network, case).raft.transfer_leadership(int(case.words[1]))
        return ""

    def _reconfigure(self, case: Case, network: Network) -> str:
        changes = tuple(MemberChange(_KINDS[word[0]], int(word[1:])) for word in case.words[1:])
        explicit = case.arguments.get("joint") == ("explicit",)
        transition = Transition.JOINT_EXPLICIT if explicit else Transition.AUTO
        try:
            self._member(network, case).raft.propose_configuration(ConfigurationChange(changes, transition))
        except ProposalDropped as error:
            return f"dropped: {error}"
        return ""

    def _ready(self, case: Case, network: Network) -> str:
        taken = self._member(network, case).take_ready()
        if taken is None:
            return "no ready"
        network.send(taken[1])
        return describe_ready(taken[0])

    def _persist(self, case: Case, network: Network) -> str:
        network.send(self._member(network, case).finish_write())
        return ""

    def _apply(self, case: Case, network: Network) -> str:
        self._member(network, case).apply()
        return ""

    @staticmethod
    def _take(case: Case, network: Network) -> list[Message]:
        link = tuple(map(int, case.words)) if case.words else None
        chosen = [message for message in network.messages if link in (None, (message.source, message.target))]
        network.messages = [message for message in network.messages if message not in chosen]
        return chosen

    def _deliver(self, case: Case, network: Network) -> str:
        messages = self._take(case, network)
        for message in messages:
            network.deliver(message)
        return "\n".join(map(describe_message, messages)) or "nothing"

    def _drop(self, case: Case, network: Network) -> str:
        messages = self._take(case, network)
        for message in messages:
            network.lose(message)
        return "\n".join(map(describe_message, messages)) or "nothing"

    def _isolate(self, case: Case, network: Network) -> str:
        network.isolate(int(case.words[0]))
        return ""

    def _cut(self, case: Case, network: Network) -> str:
        network.cut.add((int(case.words[0]), int(case.words[1])))
        return ""

    def _heal(self, case: Case, network: Network) -> str:
        network.heal()
        return ""

    def _crash(self, case: Case, network: Network) -> str:
        member = self._member(network, case)
        member.crash(int(case.arguments.get("kept", ("0",))[0]))
        return member.raft.describe()

    def _wipe(self, case: Case, network: Network) -> str:
        member = self._member(network, case)
        life = case.arguments.get("life")
        member.wipe(int(life[0]) << LIFE_CLOCK_SHIFT if life is not None else network.next_life())
        return member.raft.describe()

    def _recovery(self, case: Case, network: Network) -> str:
        lines = []
        for member in [int(word) for word in case.words] or list(network.members):
            raft = network.members[member].raft
            lines.append(f"{member}: {describe_standing(raft.standing)}")
            if raft.recovery:
                lines.append(f"   {raft.recovery}")
        return "\n".join(lines)

    def _compact(self, case: Case, network: Network) -> str:
        self._member(network, case).compact(int(case.arguments.get("trailing", ("0",))[0]))
        return ""

    def _state(self, case: Case, network: Network) -> str:
        chosen = [int(word) for word in case.words] or list(network.members)
        return "\n".join(network.members[member].raft.describe() for member in chosen)

    def _log(self, case: Case, network: Network) -> str:
        log = self._member(network, case).durable
        if log.last_index() < log.first_index():
            return "empty"
        return "\n".join(map(describe_entry, log.entries(log.first_index(), log.last_index() + 1, 1 << 30)))

    def _commands(self, case: Case, network: Network) -> str:
        return " ".join(command.decode() for command in self._member(network, case).applied_commands)

    def _reads(self, case: Case, network: Network) -> str:
        member = self._member(network, case)
        states, member.read_states = member.read_states, []
        return "\n".join(f"{state.context.decode()} at {state.index}" for state in states) or "none"
