"""Writing to the registry: each wish becomes a plan, which is done in kv if the copy that it was made from still holds.

Nothing is refused, and nothing is taken for done, by the word of this process's copy alone: it may be behind. A wish
that seems fulfilled is looked up in kv, and a refusal is decided again after the copy has caught up.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from runtime import Clock
from services.registry import planning, validation
from services.registry.catalogue import BeatRecord, Key, KeyKind, MemoryCatalogue
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health, Instance, Node
from services.registry.interface import Beat, Check, Exists, Invalid, NotFound, RegistryError, Unavailable, WrongKind
from services.registry.limits import BEATS_MAX
from services.registry.metrics import Counters
from services.registry.planning import Plan
from services.registry.store import LeaseGone, Outcome, Store

ATTEMPTS_MAX = 16
"""Plans for one wish. Each failure means that somebody else changed the same thing at the same time."""
WRITES_AT_ONCE = 64
"""Of the beats of one request, and of the instances of a node that is taken away."""

Judge = Callable[[CheckDefinition, CheckState, Health, str, int], CheckState]
"""What a check says after a result: `(definition, state, health, output, now_ms)`; see `services.registry.checks`."""
Maker = Callable[[], Plan]
T = TypeVar("T")


def judge_plainly(
    definition: CheckDefinition, state: CheckState, health: Health, output: str, now_ms: int
) -> CheckState:
    """The latest result counts, and nothing is damped."""
    if state.health is health:
        return state
    critical = health is Health.CRITICAL
    return CheckState(health, output, changed_at_ms=now_ms, critical_since_ms=now_ms if critical else 0)


class CatalogueRegistrar:
    """A `Registrar` over a copy and a store."""

    def __init__(
        self,
        copy: MemoryCatalogue,
        store: Store,
        clock: Clock,
        *,
        shared: Node,
        judge: Judge = judge_plainly,
        counters: Counters | None = None,
    ) -> None:
        """`shared` is the node of instances that name none; it is made with the first of them."""
        self._copy = copy
        self._store = store
        self._clock = clock
        self._shared = shared
        self._judge = judge
        self._counters = counters or Counters()

    @property
    def shared_node(self) -> str:
        """The node of instances that name none."""
        return self._shared.name

    # ---- Registrar

    async def register(
        self,
        instance: Instance,
        checks: Sequence[CheckDefinition],
        *,
        node: Node | None = None,
        keep_other_checks: bool = False,
        take_over: bool = False,
    ) -> int:
        """Makes or changes an instance and its checks; see `Registrar.register`."""
        instance, checks = validation.completed(instance, checks, self.shared_node)
        validation.check_registration(instance, checks)
        if node is not None:
            validation.check_node(node)
            if node.name != instance.node:
                raise Invalid(f"node: {node.name!r} is not the instance's, {instance.node!r}")

        def make() -> Plan:
            return planning.plan_registration(
                self._copy,
                instance,
                checks,
                node or self._shared_if_new(instance.node),
                keep_other_checks=keep_other_checks,
                take_over=take_over,
                now_ms=self._now_ms(),
            )

        return await self._do(make, Key(KeyKind.INSTANCE, instance.node, instance.id))

    async def deregister(self, node: str, instance_id: str) -> int:
        """Takes an instance and its checks away. Raises NotFound."""
        node = node or self.shared_node
        return await self._do(lambda: planning.plan_removal(self._copy, node, instance_id))

    async def register_node(self, node: Node) -> int:
        """Makes or changes a node. Raises Invalid."""
        validation.check_node(node)
        return await self._do(lambda: planning.plan_node(self._copy, node), Key(KeyKind.NODE, node.name))

    async def deregister_node(self, name: str) -> int:
        """Takes a node with all that is on it away: first its instances, many at once. Raises NotFound."""

        def make() -> Plan:
            if self._copy.instances_on(name):
                raise _Occupied
            return planning.plan_node_removal(self._copy, name)

        for _ in range(ATTEMPTS_MAX):
            instances = self._copy.instances_on(name)
            await _together([self._deregister_if_there(name, instance.id) for instance in instances])
            try:
                return await self._do(make)
            except _Occupied:
                continue
        raise Unavailable(f"instances come to node {name!r} faster than they can be taken away", definite=False)

    async def add_check(self, node: str, definition: CheckDefinition, state: CheckState | None = None) -> int:
        """Makes or changes a check of an instance, or of the node. Raises Invalid, and NotFound without its owner."""
        node = node or self.shared_node
        validation.check_node_name("node", node)
        validation.check_definition(definition, "check")
        if state is not None:
            state = msgspec.structs.replace(state, output=validation.cut_output(state.output))
        if node == self.shared_node and not definition.instance_id:
            await self.register_node(self._shared_if_new(node) or self._kept_node(node))
        return await self._do(
            lambda: planning.plan_check(self._copy, node, definition, state, now_ms=self._now_ms()),
            Key(KeyKind.CHECK, node, definition.id),
        )

    async def remove_check(self, node: str, check_id: str) -> int:
        """Takes a check away. Raises NotFound."""
        node = node or self.shared_node
        return await self._do(lambda: planning.plan_check_removal(self._copy, node, check_id))

    async def beat(self, beats: Sequence[Beat]) -> Sequence[RegistryError | None]:
        """Reports on TTL checks: renews their time, and writes where the health changes. One result for each."""
        if len(beats) > BEATS_MAX:
            raise Invalid(f"beats: {len(beats)} of them; at most {BEATS_MAX}")
        self._counters.beats += len(beats)
        beats = [beat if beat.node else dataclasses.replace(beat, node=self.shared_node) for beat in beats]
        results: list[RegistryError | None] = [None] * len(beats)
        known: list[int] = []
        for number, beat in enumerate(beats):
            try:
                validation.check_beat(beat)
                known.append(number)
            except Invalid as error:
                results[number] = error
        if any(self._copy.check(beats[number].node, beats[number].check_id) is None for number in known):
            # They may have been registered at another process just now.
            try:
                await self._store.catch_up()
            except Unavailable as error:
                for number in known:
                    results[number] = error
                return results
        renewals: list[tuple[int, Awaitable[bool]]] = []
        writes: list[int] = []
        for number in known:
            lease = self._lease_if_unchanged(beats[number])
            if lease:
                renewals.append((number, self._store.renew(lease)))
            else:
                writes.append(number)
        answers = await asyncio.gather(*(renewal for _, renewal in renewals), return_exceptions=True)
        for (number, _), answer in zip(renewals, answers, strict=True):
            if isinstance(answer, RegistryError):
                results[number] = answer
            elif isinstance(answer, BaseException):
                raise answer
            elif not answer:
                writes.append(number)
        found = await _together([self._beat_by_writing(beats[number]) for number in writes])
        for number, result in zip(writes, found, strict=True):
            results[number] = result
        self._counters.beats_failed += sum(result is not None for result in results)
        return results

    async def set_state(self, check: Check, state: CheckState, *, unless_beating: bool = False) -> bool:
        """Writes what a check says, unless it has changed since it was read, or, if so asked, its time runs (False)."""
        state = msgspec.structs.replace(state, output=validation.cut_output(state.output))
        plan = planning.plan_state(check.node, check.definition, state, check.index, unless_beating=unless_beating)
        outcome = await self._store.commit(plan)
        if outcome.done:
            return True
        if outcome.is_repeated:
            now = self._copy.check(check.node, check.definition.id)
            return now is not None and now.state == state and now.definition == check.definition
        return False

    # ---- inside

    def _now_ms(self) -> int:
        return int(self._clock.wall_s() * 1000)

    def _shared_if_new(self, node: str) -> Node | None:
        """The shared node when it is meant, and is not there yet."""
        if node == self._shared.name and self._copy.stored(Key(KeyKind.NODE, node)) is None:
            return self._shared
        return None

    def _kept_node(self, name: str) -> Node:
        view = self._copy.node(name)
        return view.node if view is not None else self._shared

    async def _do(self, make: Maker, key: Key | None = None) -> int:
        """Makes plans until one is done; the index of what was written, or of `key` when nothing had to be."""
        is_current, maybe_done = False, False
        attempts = 0
        while attempts < ATTEMPTS_MAX:
            try:
                plan = make()
            except (Invalid, NotFound, Exists) as error:
                if isinstance(error, NotFound) and maybe_done:
                    # An earlier attempt took it away.
                    return self._copy.revision
                if is_current:
                    raise
                await self._store.catch_up()
                is_current = True
                continue
            outcome = await self._commit(plan)
            if outcome is not None and outcome.done:
                stored = self._copy.stored(key) if key is not None else None
                return outcome.revision if plan.writes or stored is None else stored.revision
            # The copy is as new now as what the plan failed on.
            is_current = outcome is not None
            maybe_done |= outcome is None or outcome.is_repeated
            self._counters.conflicts += 1
            attempts += 1
        raise Unavailable("others keep changing the same", definite=not maybe_done)

    async def _commit(self, plan: Plan) -> Outcome | None:
        """Does a plan with the leases that it needs; None when one of them was over before."""
        leases: list[int] = []
        try:
            for key, ttl_s in plan.beats.items():
                leases.append(await self._store.grant(ttl_s))
                plan.writes[key] = planning.beat_write(key, ttl_s, leases[-1])
            outcome = await self._store.commit(plan)
        except (LeaseGone, Unavailable) as error:
            if isinstance(error, LeaseGone) or error.definite:
                self._forget(leases)
            if isinstance(error, LeaseGone):
                return None
            raise
        if not outcome.done and not outcome.is_repeated:
            self._forget(leases)
        if outcome.done:
            self._forget(plan.freed)
        return outcome

    def _forget(self, leases: Sequence[int]) -> None:
        for lease in leases:
            self._store.forget(lease)

    async def _deregister_if_there(self, node: str, instance_id: str) -> None:
        try:
            await self.deregister(node, instance_id)
        except NotFound:
            pass

    def _lease_if_unchanged(self, beat: Beat) -> int:
        """The lease of a TTL check of which nothing has to be written; 0 when something has, or it is none."""
        check = self._copy.check(beat.node, beat.check_id)
        held = self._copy.stored(Key(KeyKind.BEAT, beat.node, beat.check_id))
        if check is None or held is None or not isinstance(held.value, BeatRecord):
            return 0
        definition = check.definition
        if definition.kind is not CheckKind.TTL or held.value.ttl_s != planning.lease_ttl_s(definition):
            return 0
        state = self._judge(definition, check.state, beat.health, beat.output, self._now_ms())
        return held.lease if state == check.state else 0

    async def _beat_by_writing(self, beat: Beat) -> RegistryError | None:
        """A beat that changes the health, or begins the check's time anew."""
        output = validation.cut_output(beat.output)
        key = Key(KeyKind.BEAT, beat.node, beat.check_id)
        over: set[int] = set()
        """Leases that the copy may still have, and that are over."""
        for _ in range(ATTEMPTS_MAX):
            check = self._copy.check(beat.node, beat.check_id)
            if check is None:
                return NotFound(f"there is no check {beat.check_id!r} on node {beat.node!r}: register again")
            definition = check.definition
            if definition.kind is not CheckKind.TTL:
                return WrongKind(f"check {beat.check_id!r} is of kind {definition.kind.value}: it takes no reports")
            try:
                plan = Plan(guards={Key(KeyKind.CHECK, beat.node, beat.check_id): check.index})
                state = self._judge(definition, check.state, beat.health, output, self._now_ms())
                if state != check.state:
                    plan = planning.plan_state(beat.node, definition, state, check.index)
                ttl_s = planning.lease_ttl_s(definition)
                held = self._copy.stored(key)
                if held is None or held.value != BeatRecord(ttl_s) or held.lease in over:
                    plan.beats[key] = ttl_s
                    plan.freed += [held.lease] if held is not None else []
                    outcome = await self._commit(plan)
                else:
                    # Both at once: they do not depend on each other, and a change is told one round trip sooner.
                    renewed, outcome = await asyncio.gather(self._store.renew(held.lease), self._commit(plan))
                    if not renewed:
                        over.add(held.lease)
                        continue
            except Unavailable as error:
                return error
            if outcome is not None and outcome.done:
                return None
            self._counters.conflicts += 1
        return Unavailable("others keep changing the same", definite=False)


class _Occupied(Exception):
    """A node that is to be taken away has instances again."""


async def _together(work: Sequence[Awaitable[T]]) -> list[T]:
    """Does all of it, WRITES_AT_ONCE at a time."""
    room = asyncio.Semaphore(WRITES_AT_ONCE)

    async def one(item: Awaitable[T]) -> T:
        async with room:
            return await item

    return await asyncio.gather(*map(one, work))
