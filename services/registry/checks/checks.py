"""The checks of one process of the registry: owns its share, finds out how they are, and writes when they flip.

Everything is level-triggered. Changes of the catalogue, of membership and of the processes only say what to look at;
what is done follows from what is true then. So a process that starts late, reads its copy anew, or takes a check over
comes to the same end as one that saw every event. As a net under the nets, everything is looked at each `sweep_s`.

The way of one flip: something marks the check in the outbox; `_settle` compares what is kept with the verdict (the
last probe that counts, the lease of a TTL check, membership), asks `judging` for the new state and `preserving` whether
a turn to critical is to be believed, and writes it by comparison with what it read.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from cluster.membership.driver import ChangeKind as MemberChange
from runtime import Clock, Net, Randomness
from runtime.tasks import TaskScope
from services.registry.checks.judging import observe
from services.registry.checks.metrics import CheckCounters
from services.registry.checks.nodes import Members, is_member_check, judge_node, node_check
from services.registry.checks.options import CheckOptions
from services.registry.checks.outbox import Outbox, Outcome
from services.registry.checks.ownership import Ownership, check_key, split_key
from services.registry.checks.preserving import Preserving
from services.registry.checks.prober import Prober
from services.registry.checks.probes.asking import Ask, Probes
from services.registry.checks.probes.result import Result
from services.registry.checks.reaping import reap_in_s
from services.registry.checks.thresholds import Streak
from services.registry.checks.verdict import Verdict
from services.registry.domain import NODE_CHECK_ID, PROBED, CheckDefinition, CheckKind, CheckState, Health
from services.registry.interface import (
    Catalogue,
    Change,
    ChangeKind,
    Check,
    NotFound,
    Registrar,
    RegistryError,
    Unavailable,
)
from structures.deadline_heap import DeadlineHeap

LOOKS_PER_STEP = 200
"""Checks that are looked at before others have their turn: a few milliseconds of work."""
DUE_PER_TICK = 1000
"""Deadlines that are taken in one tick."""
REAP_AGAIN_S = 10.0
"""Pause before something is taken away that could not be, or must not be yet."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Tended:
    """A check of this process's."""

    definition: CheckDefinition
    streak: Streak = field(default_factory=Streak)
    verdict: Verdict | None = None
    """Of a probed check: the last result that counted."""
    critical_since_ms: int = 0
    """For which time in critical its end was planned."""
    reap: bool = False
    """Its time is over."""


class Checks:
    """Runs from `run` to its cancellation. All of it belongs to one event loop."""

    def __init__(
        self,
        catalogue: Catalogue,
        registrar: Registrar,
        members: Members | None,
        name: str,
        *,
        clock: Clock,
        random: Randomness,
        net: Net,
        options: CheckOptions | None = None,
        ask: Ask | None = None,
    ) -> None:
        """`name` is this process's in `Catalogue.processes`; `members` is None where there is no membership.

        `ask` replaces probing over the network.
        """
        self._catalogue = catalogue
        self._registrar = registrar
        self._members = members
        self._clock = clock
        self._random = random
        self._options = options = options or CheckOptions()
        self.counters = CheckCounters()
        self._probes = None
        if ask is None:
            ask = self._probes = Probes(
                net,
                random,
                denied=options.networks_denied,
                ca_file=options.probe_ca_file,
                channels_max=options.channels_max,
            )
        self._prober = Prober(ask, random, self.counters, self._on_result, options.probes_max)
        self._outbox = Outbox(
            self._settle,
            self._may_write,
            writes_max=options.writes_max,
            retry_s=options.retry_s,
            retry_s_max=options.retry_s_max,
        )
        self._preserving = Preserving(options.allowance, options.nodes_allowance, self.counters)
        self._ownership = Ownership(name)
        self._tended: dict[str, _Tended] = {}
        self._changed: dict[str, None] = {}
        """To be looked at."""
        self._all_changed = True
        self._wake = asyncio.Event()
        self._releases: DeadlineHeap[str] = DeadlineHeap()
        """When checks that are held because they flap may pass."""
        self._reaps: DeadlineHeap[str] = DeadlineHeap()
        self._joined_at_s: float | None = None

    # ---- what is shown

    @property
    def owned(self) -> int:
        """Checks that this process looks after."""
        return len(self._tended)

    @property
    def flips_held_back(self) -> int:
        """Turns to critical that self-preservation does not believe now."""
        return self._preserving.held_back

    @property
    def self_preservation(self) -> bool:
        """Whether too many failed at once."""
        return self.flips_held_back > 0

    @property
    def probes_skipped(self) -> int:
        """Probes that were left out, since the one before was late or slow."""
        return self._prober.skipped

    @property
    def unwritten(self) -> int:
        """Checks that wait to be looked at and perhaps written; they stay here while kv is away."""
        return len(self._outbox)

    # ---- running

    async def run(self) -> None:
        """Runs until cancelled."""
        unsubscribe = self._catalogue.subscribe(self._on_changes)
        try:
            async with TaskScope("checks") as scope:
                scope.spawn(self._keep(), name="keep")
                scope.spawn(self._outbox.run(), name="outbox")
                scope.spawn(self._prober.run(), name="prober")
                if self._members is not None:
                    scope.spawn(self._follow_members(self._members), name="members")
        finally:
            unsubscribe()
            if self._probes is not None:
                await self._probes.close()

    def _on_changes(self, changes: Sequence[Change]) -> None:
        for kind, node, check_id, _, _ in changes:
            if kind is ChangeKind.CHECK or kind is ChangeKind.BEAT:
                self._changed[check_key(node, check_id)] = None
            elif kind is ChangeKind.NODE:
                self._changed[check_key(node, NODE_CHECK_ID)] = None
            elif kind is ChangeKind.RESET:
                self._all_changed = True
        self._wake.set()

    async def _follow_members(self, members: Members) -> None:
        async with members.watch() as changes:
            async for change in changes:
                if change.kind is MemberChange.RESET or change.member is None:
                    self._all_changed = True
                else:
                    self._changed[check_key(change.member.name, NODE_CHECK_ID)] = None
                self._wake.set()

    async def _keep(self) -> None:
        """Looks at what changed, and at deadlines."""
        loop = asyncio.get_running_loop()
        swept_s = loop.time()
        while True:
            if self._catalogue.is_ready:
                self._tick(loop.time())
                if loop.time() - swept_s >= self._options.sweep_s or self._all_changed:
                    swept_s = loop.time()
                    self._all_changed = False
                    self._changed.update(dict.fromkeys(self._everything()))
                await self._look_at_changed()
            timer = loop.call_later(self._options.tick_s, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
            self._wake.clear()

    def _everything(self) -> list[str]:
        """All that is there, and all that was: what is gone must be noticed, too."""
        checks = [check_key(check.node, check.definition.id) for check in self._catalogue.checks()]
        nodes = [check_key(view.node.name, NODE_CHECK_ID) for view in self._catalogue.nodes()]
        return [*checks, *nodes, *self._ownership.known()]

    async def _look_at_changed(self) -> None:
        while self._changed:
            keys = list(self._changed)[:LOOKS_PER_STEP]
            for key in keys:
                del self._changed[key]
                self._look(key)
            if self._changed:
                await asyncio.sleep(0)

    def _tick(self, now_s: float) -> None:
        processes = self._catalogue.processes()
        moves = self._ownership.change(processes)
        for key in moves.lost:
            self._drop(key)
        self._changed.update(dict.fromkeys(moves.gained))
        for key in self._releases.pop_due(now_s, DUE_PER_TICK):
            self._outbox.mark(key)
        for key in self._reaps.pop_due(now_s, DUE_PER_TICK):
            if (tended := self._tended.get(key)) is not None:
                tended.reap = True
                self._outbox.mark(key)
        for key in self._preserving.ready(now_s):
            self._outbox.mark(key)
        if self._joined_at_s is None and self._members is not None and self._members.joined:
            self._joined_at_s = now_s

    # ---- looking

    def _look(self, key: str) -> None:
        """Takes note of what is kept of a check now, and marks it when something may have to be done."""
        node, check_id = split_key(key)
        check = self._catalogue.check(node, check_id)
        adoptable = check_id == NODE_CHECK_ID and self._is_adoptable(node, check)
        if check is None and not adoptable:
            self._ownership.discard(key)
            self._preserving.forget_node(key)
            self._drop(key)
            return
        own = self._ownership.add(key)
        if check_id == NODE_CHECK_ID:
            self._look_at_node(key, node, check, own=own)
        if not own or check is None or not _is_judged(check.definition):
            self._drop(key)
            if own and adoptable:
                self._outbox.mark(key)
            return
        self._tend(key, check)

    def _look_at_node(self, key: str, node: str, check: Check | None, *, own: bool) -> None:
        """Keeps the account of all nodes' deaths, whoever owns their checks."""
        if check is None or not is_member_check(check.definition):
            self._preserving.forget_node(key)
            return
        critical = check.state.health is Health.CRITICAL
        self._preserving.see_node(key, critical=critical, own=own)
        verdict = self._judge_node(node)
        if verdict is not None and verdict.health is not Health.CRITICAL:
            self._preserving.recovered(key)
        elif verdict is not None and not verdict.by_itself and not critical and not own:
            self._preserving.may_turn(key, asyncio.get_running_loop().time())

    def _tend(self, key: str, check: Check) -> None:
        definition, state = check.definition, check.state
        tended = self._tended.get(key)
        if tended is None or tended.definition != definition:
            tended = self._begin(key, check)
        critical = state.health is Health.CRITICAL
        if definition.kind is not CheckKind.NODE:
            self._preserving.see_check(key, critical=critical)
        now_s, now_ms = asyncio.get_running_loop().time(), self._now_ms()
        if state.held:
            wait_ms = max(0, self._options.damping.held_until_ms(state) - now_ms)
            # A wall clock that was set back must not make it longer than it can be.
            self._releases.set(key, now_s + min(wait_ms, self._options.damping.hold_ms_max) / 1000)
        else:
            self._releases.remove(key)
        since_ms = 0 if state.held or not critical else state.critical_since_ms or 1
        if since_ms != tended.critical_since_ms:
            tended.critical_since_ms = since_ms
            tended.reap = False
            within_s = reap_in_s(definition, state, now_ms)
            if within_s is None:
                self._reaps.remove(key)
            else:
                self._reaps.set(key, now_s + within_s)
        self._consider(key, tended, check)

    def _begin(self, key: str, check: Check) -> _Tended:
        definition = check.definition
        tended = self._tended[key] = _Tended(definition)
        self._reaps.remove(key)
        self._prober.remove(key)
        if definition.kind in PROBED:
            interval_s = definition.interval_ms / 1000
            # One that was just made waits for its first result; one that was taken over has said something already.
            is_new = self._now_ms() - check.state.changed_at_ms < definition.interval_ms
            within_s = min(interval_s, self._options.first_probe_s_max) if is_new else interval_s
            self._prober.add(key, definition, within_s)
        return tended

    def _drop(self, key: str) -> None:
        """It is gone, or another process's."""
        if self._tended.pop(key, None) is not None:
            self._prober.remove(key)
            self._releases.remove(key)
            self._reaps.remove(key)
            self._preserving.forget_check(key)

    def _consider(self, key: str, tended: _Tended, check: Check) -> None:
        """Marks a check when its verdict is not what is kept."""
        verdict = self._verdict(tended, check)
        if verdict is None or verdict.health is not Health.CRITICAL:
            self._preserving.recovered(key)
        if verdict is not None and (verdict.health is not check.state.health or check.state.held):
            self._outbox.mark(key)

    def _on_result(self, key: str, result: Result) -> None:
        """A probe ended."""
        tended = self._tended.get(key)
        if tended is None or not tended.streak.add(tended.definition, result.health):
            return
        tended.verdict = Verdict(result.health, result.output)
        node, check_id = split_key(key)
        check = self._catalogue.check(node, check_id)
        if check is not None:
            self._consider(key, tended, check)

    # ---- judging

    def _verdict(self, tended: _Tended, check: Check) -> Verdict | None:
        """What this process knows of a check; None: nothing to be said."""
        kind = tended.definition.kind
        if kind is CheckKind.TTL:
            if not self._catalogue.is_beating(check.node, check.definition.id):
                return Verdict(Health.CRITICAL, "TTL expired")
            # What it says is the clients' business, and written by the registrar; a hold is let go here.
            return Verdict(Health.PASSING, "it has stopped flapping") if check.state.held else None
        if kind is CheckKind.NODE:
            return self._judge_node(check.node)
        return tended.verdict

    def _judge_node(self, name: str) -> Verdict | None:
        members = self._members
        if members is None:
            return None
        view = members.member(name)
        joined_for_s = 0.0
        if self._joined_at_s is not None:
            joined_for_s = asyncio.get_running_loop().time() - self._joined_at_s
        return judge_node(None if view is None else view.status, joined_for_s, self._options.unknown_node_after_s)

    def _is_adoptable(self, node: str, check: Check | None) -> bool:
        """Whether membership knows a node whose check does not say so yet."""
        if check is not None and (check.definition.kind is not CheckKind.NODE or is_member_check(check.definition)):
            return False
        members = self._members
        return members is not None and members.member(node) is not None and self._catalogue.node(node) is not None

    # ---- writing

    def _may_write(self) -> bool:
        return self._catalogue.is_ready and not self._catalogue.staleness.is_stale

    async def _settle(self, key: str) -> Outcome:
        """Does what is to be done about a check, by what is true now."""
        try:
            return await self._settle_now(key)
        except NotFound:
            return Outcome.DONE
        except Unavailable:
            self.counters.writes_unavailable += 1
            return Outcome.AWAY
        except RegistryError as error:
            # Nothing that would help is known; the next sweep looks again.
            _log.warning("check %r cannot be written: %s", key, error)
            return Outcome.DONE

    async def _settle_now(self, key: str) -> Outcome:
        node, check_id = split_key(key)
        check = self._catalogue.check(node, check_id)
        if key in self._ownership and check_id == NODE_CHECK_ID and self._is_adoptable(node, check):
            return await self._adopt(node)
        tended = self._tended.get(key)
        if tended is None or check is None:
            return Outcome.DONE
        if tended.reap:
            return await self._reap(key, tended, check)
        verdict = self._verdict(tended, check)
        if verdict is None:
            return Outcome.DONE
        before = check.state
        now_ms = self._now_ms()
        state = observe(check.definition, before, verdict.health, verdict.output, now_ms, self._options.damping)
        if state is before:
            return Outcome.DONE
        turns = state.health is Health.CRITICAL and before.health is not Health.CRITICAL
        if turns and not self._is_believed(key, check, verdict):
            return Outcome.DONE
        # A beat at another process may only have renewed the time; test_checks.py has that race.
        expires = turns and check.definition.kind is CheckKind.TTL
        if not await self._registrar.set_state(check, state, unless_beating=expires):
            self.counters.writes_lost += 1
            return Outcome.AGAIN
        if state.health is not before.health:
            self.counters.flips[check.definition.kind, state.health] += 1
        self.counters.holds += state.held
        return Outcome.DONE

    def _is_believed(self, key: str, check: Check, verdict: Verdict) -> bool:
        if verdict.by_itself:
            return True
        if check.definition.instance_id:
            of_node = self._catalogue.check(check.node, NODE_CHECK_ID)
            if of_node is not None and of_node.state.health is Health.CRITICAL and is_member_check(of_node.definition):
                return True  # one death, and it has been counted
        return self._preserving.may_turn(key, asyncio.get_running_loop().time())

    async def _adopt(self, node: str) -> Outcome:
        verdict = self._judge_node(node)
        if verdict is None:
            return Outcome.DONE
        now_ms = self._now_ms()
        critical = verdict.health is Health.CRITICAL
        state = CheckState(
            verdict.health, verdict.output, changed_at_ms=now_ms, critical_since_ms=now_ms if critical else 0
        )
        definition = node_check(int(self._options.node_deregister_after_s * 1000))
        await self._registrar.add_check(node, definition, state)
        return Outcome.DONE

    async def _reap(self, key: str, tended: _Tended, check: Check) -> Outcome:
        """Takes away what has been critical for too long, unless it is not, or too much fails at once."""
        again_s = asyncio.get_running_loop().time() + REAP_AGAIN_S
        tended.reap = False
        if check.state.health is not Health.CRITICAL or check.state.held:
            return Outcome.DONE
        if self.self_preservation:
            self._reaps.set(key, again_s)
            return Outcome.DONE
        definition = check.definition
        # Before, since it is not marked again when kv is away: an answer that is lost must not lose the deadline.
        self._reaps.set(key, again_s)
        if definition.instance_id:
            await self._registrar.deregister(check.node, definition.instance_id)
        else:
            await self._registrar.deregister_node(check.node)
        self.counters.reaped += 1
        what = definition.instance_id or "the node itself"
        _log.info("%s on %s was critical for too long, and is deregistered", what, check.node)
        return Outcome.DONE

    def _now_ms(self) -> int:
        return int(self._clock.wall_s() * 1000)


def _is_judged(definition: CheckDefinition) -> bool:
    """Whether the registry itself has anything to say of a check."""
    return definition.kind is CheckKind.TTL or definition.kind in PROBED or is_member_check(definition)
