"""What has to be written for a wish, given what this process's copy says. Pure.

A plan names what it was made from (`guards`), and is done only if that is still so. Otherwise the copy was behind, or
somebody else was faster: a plan is made anew, from a newer copy. So a plan that is sent twice is done once, and a wish
that is fulfilled already becomes a plan that only looks whether that is true.

Two rules make guards few, and the indexes of all copies equal:
- Whoever adds, changes or removes a check writes what it belongs to again, the instance or the node. So the guard of an
  instance covers the set of its checks. A flip writes the check alone.
- Whoever removes something leaves a note for its service and its node: the revision of the note is the index from then
  on (`KeyKind.GONE_SERVICE`, `GONE_NODE`).
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from services.registry.catalogue import (
    BeatRecord,
    CheckRecord,
    GoneRecord,
    Key,
    KeyKind,
    MemoryCatalogue,
    Record,
)
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health, Instance, Node
from services.registry.interface import Exists, Invalid, NotFound

GONE = GoneRecord()


@dataclass(frozen=True, slots=True)
class Write:
    """One record to be put, or removed with None."""

    key: Key
    value: Record | None
    lease: int = 0


@dataclass(slots=True)
class Plan:
    """What is to be written, and what must still be so."""

    guards: dict[Key, int] = field(default_factory=dict)
    """The revision of each record that it was made from; 0: there is none."""
    writes: dict[Key, Write] = field(default_factory=dict)
    """In the order in which they are done. kv takes each key once: the first word on it counts."""
    empty_nodes: list[str] = field(default_factory=list)
    """Nodes that must have no instances, also none that the copy does not know."""
    beats: dict[Key, int] = field(default_factory=dict)
    """Records of beats that are to be put on new leases, with their TTL in seconds."""

    freed: list[int] = field(default_factory=list)
    """Leases that hold nothing any more once this is done."""

    def put(self, key: Key, value: Record) -> None:
        """Writes a record."""
        self.writes.setdefault(key, Write(key, value))

    def remove(self, key: Key) -> None:
        """Removes a record; one that is not there is fine."""
        self.writes.setdefault(key, Write(key, None))


def lease_ttl_s(definition: CheckDefinition) -> int:
    """The TTL of a check's lease: kv counts whole seconds."""
    return -(-definition.ttl_ms // 1000)


def guard(plan: Plan, copy: MemoryCatalogue, key: Key) -> None:
    """The record must be as the copy has it."""
    stored = copy.stored(key)
    plan.guards[key] = stored.revision if stored is not None else 0


def plan_registration(
    copy: MemoryCatalogue,
    instance: Instance,
    checks: Sequence[CheckDefinition],
    node: Node | None,
    *,
    keep_other_checks: bool,
    take_over: bool,
    now_ms: int,
) -> Plan:
    """Makes or changes an instance and its checks. Raises Exists, and Invalid for an unknown node."""
    plan = Plan()
    _plan_node(plan, copy, instance.node, node)
    place = Key(KeyKind.INSTANCE, instance.node, instance.id)
    guard(plan, copy, place)
    stored = copy.stored(place)
    before = stored.value if stored is not None else None
    changed = before != instance
    gone: list[str] = []
    if isinstance(before, Instance) and before.service != instance.service:
        if not take_over:
            raise Exists(f"id: {instance.id!r} on node {instance.node!r} is an instance of {before.service!r}")
        gone.append(before.service)
    puts = Plan()
    for definition in checks:
        changed |= _plan_check(puts, copy, instance.node, definition, None, take_over=take_over, now_ms=now_ms)
    if not keep_other_checks:
        named = {definition.id for definition in checks}
        for key in copy.check_keys_of(instance.node, instance.id):
            if key.id not in named:
                changed = True
                _plan_check_removal(puts, copy, key)
    if changed:
        # Before its checks: whoever follows the changes in their order knows what the checks belong to.
        plan.put(place, instance)
    _join(plan, puts)
    for service in gone:
        plan.put(Key(KeyKind.GONE_SERVICE, service), GONE)
    return plan


def plan_removal(copy: MemoryCatalogue, node: str, instance_id: str) -> Plan:
    """Takes an instance away. Raises NotFound."""
    place = Key(KeyKind.INSTANCE, node, instance_id)
    stored = copy.stored(place)
    if stored is None:
        raise NotFound(f"there is no instance {instance_id!r} on node {node!r}")
    plan = Plan()
    guard(plan, copy, place)
    for key in copy.check_keys_of(node, instance_id):
        _plan_check_removal(plan, copy, key)
    plan.remove(place)
    if isinstance(stored.value, Instance):
        plan.put(Key(KeyKind.GONE_SERVICE, stored.value.service), GONE)
    plan.put(Key(KeyKind.GONE_NODE, node), GONE)
    return plan


def plan_node(copy: MemoryCatalogue, node: Node) -> Plan:
    """Makes or changes a node."""
    plan = Plan()
    _plan_node(plan, copy, node.name, node)
    return plan


def plan_node_removal(copy: MemoryCatalogue, name: str) -> Plan:
    """Takes a node without instances away. Raises NotFound."""
    place = Key(KeyKind.NODE, name)
    if copy.stored(place) is None:
        raise NotFound(f"there is no node {name!r}")
    plan = Plan(empty_nodes=[name])
    guard(plan, copy, place)
    for key in copy.check_keys_of(name, ""):
        _plan_check_removal(plan, copy, key)
    plan.remove(place)
    plan.put(Key(KeyKind.GONE_NODE, name), GONE)
    return plan


def plan_check(
    copy: MemoryCatalogue, node: str, definition: CheckDefinition, state: CheckState | None, *, now_ms: int
) -> Plan:
    """Makes or changes one check. Raises NotFound without its owner, and Exists when the id is another's."""
    plan = Plan()
    owner, value = _owner(copy, node, definition.instance_id)
    guard(plan, copy, owner)
    puts = Plan()
    if _plan_check(puts, copy, node, definition, state, take_over=False, now_ms=now_ms):
        plan.put(owner, value)
    _join(plan, puts)
    return plan


def plan_check_removal(copy: MemoryCatalogue, node: str, check_id: str) -> Plan:
    """Takes one check away. Raises NotFound."""
    key = Key(KeyKind.CHECK, node, check_id)
    stored = copy.stored(key)
    if stored is None:
        raise NotFound(f"there is no check {check_id!r} on node {node!r}")
    plan = Plan()
    guard(plan, copy, key)
    _plan_check_removal(plan, copy, key)
    if isinstance(stored.value, CheckRecord):
        try:
            owner, value = _owner(copy, node, stored.value.definition.instance_id)
        except NotFound:
            return plan
        guard(plan, copy, owner)
        plan.put(owner, value)
    return plan


def plan_state(
    node: str, definition: CheckDefinition, state: CheckState, index: int, *, unless_beating: bool = False
) -> Plan:
    """Writes what a check says, if it is still as it was at `index`, and, if so asked, its time does not run."""
    key = Key(KeyKind.CHECK, node, definition.id)
    plan = Plan(guards={key: index})
    if unless_beating:
        plan.guards[Key(KeyKind.BEAT, node, definition.id)] = 0
    plan.put(key, CheckRecord(definition, state))
    return plan


def _plan_node(plan: Plan, copy: MemoryCatalogue, name: str, node: Node | None) -> None:
    key = Key(KeyKind.NODE, name)
    guard(plan, copy, key)
    stored = copy.stored(key)
    if node is None:
        if stored is None:
            raise Invalid(f"node: {name!r} is not known; its address is needed")
    elif stored is None or stored.value != node:
        plan.put(key, node)


def _owner(copy: MemoryCatalogue, node: str, instance_id: str) -> tuple[Key, Record]:
    key = Key(KeyKind.INSTANCE, node, instance_id) if instance_id else Key(KeyKind.NODE, node)
    stored = copy.stored(key)
    if stored is None or not isinstance(stored.value, Instance | Node):
        what = f"no instance {instance_id!r} on node {node!r}" if instance_id else f"no node {node!r}"
        raise NotFound(f"there is {what}")
    return key, stored.value


def _plan_check(
    plan: Plan,
    copy: MemoryCatalogue,
    node: str,
    definition: CheckDefinition,
    state: CheckState | None,
    *,
    take_over: bool,
    now_ms: int,
) -> bool:
    """Whether the check is new or other than it was."""
    key = Key(KeyKind.CHECK, node, definition.id)
    stored = copy.stored(key)
    before = stored.value if stored is not None and isinstance(stored.value, CheckRecord) else None
    if state is not None and not state.changed_at_ms:
        state = _dated(state, before.state if before is not None else None, now_ms)
    if before is not None and before.definition == definition and (state is None or before.state == state):
        return False
    guard(plan, copy, key)
    if before is not None and before.definition.instance_id != definition.instance_id:
        if not take_over:
            whose = before.definition.instance_id or "the node itself"
            raise Exists(f"check id: {definition.id!r} on node {node!r} belongs to {whose!r}")
        with contextlib.suppress(NotFound):
            owner, value = _owner(copy, node, before.definition.instance_id)
            guard(plan, copy, owner)
            plan.put(owner, value)
        before = None
    if state is None:
        same_question = before is not None and _question(before.definition) == _question(definition)
        state = before.state if before is not None and same_question else initial_state(definition, now_ms)
    plan.put(key, CheckRecord(definition, state))
    beat = Key(KeyKind.BEAT, node, definition.id)
    if definition.kind is CheckKind.TTL:
        # It must be heard of in time from now on; one that is critical waits for its first beat.
        if state.health is not Health.CRITICAL and copy.stored(beat) is None:
            plan.beats[beat] = lease_ttl_s(definition)
    elif copy.stored(beat) is not None:
        _plan_beat_removal(plan, copy, beat)
    return True


def initial_state(definition: CheckDefinition, now_ms: int) -> CheckState:
    """What a check says before its first result."""
    critical = definition.initial is Health.CRITICAL
    return CheckState(definition.initial, changed_at_ms=now_ms, critical_since_ms=now_ms if critical else 0)


def _dated(state: CheckState, before: CheckState | None, now_ms: int) -> CheckState:
    """A state whose time is not told: of its latest flip, which may be now."""
    if before is not None and (before.health, before.output) == (state.health, state.output):
        return before
    since_ms = now_ms if state.health is Health.CRITICAL else 0
    return msgspec.structs.replace(state, changed_at_ms=now_ms, critical_since_ms=since_ms)


def _question(definition: CheckDefinition) -> tuple[object, ...]:
    """What is asked, of whom: as long as that is the same, what was heard still holds."""
    return definition.kind, definition.target, definition.method, definition.headers, definition.body


def _plan_check_removal(plan: Plan, copy: MemoryCatalogue, key: Key) -> None:
    plan.remove(key)
    stored = copy.stored(key)
    record = stored.value if stored is not None else None
    if not isinstance(record, CheckRecord) or record.definition.kind is CheckKind.TTL:
        # Also when the copy knows of none: somebody may just have written it.
        _plan_beat_removal(plan, copy, Key(KeyKind.BEAT, key.name, key.id))


def _plan_beat_removal(plan: Plan, copy: MemoryCatalogue, key: Key) -> None:
    plan.remove(key)
    held = copy.stored(key)
    if held is not None and held.lease:
        plan.freed.append(held.lease)


def _join(plan: Plan, other: Plan) -> None:
    plan.guards.update(other.guards)
    for key, write in other.writes.items():
        plan.writes.setdefault(key, write)
    plan.beats.update(other.beats)
    plan.freed += other.freed


def beat_write(key: Key, ttl_s: int, lease: int) -> Write:
    """Puts a beat's record on a lease."""
    return Write(key, BeatRecord(ttl_s), lease)
