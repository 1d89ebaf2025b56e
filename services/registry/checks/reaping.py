"""When an instance that stays critical is taken away."""

from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health

AFTER_S_MIN = 60.0
"""The shortest time in critical: Consul's. Below, a pause of a process's collector could make it vanish."""
WATCHED_S_MIN = 30.0
"""How long a process looks at a critical check itself, whatever the kept times say: wall clocks are set wrongly, and
after an outage of everything the clients need a moment to report again."""


def reap_in_s(definition: CheckDefinition, state: CheckState, now_ms: int) -> float | None:
    """Seconds from now until the check's instance goes, if nothing changes; None: never.

    To be asked once, when the check is first seen so, and measured from there by a monotonic clock: a step of the wall
    clock then takes nobody away. A check that is held critical since it flaps is alive, and is not reaped.
    """
    if not definition.instance_id and definition.kind is not CheckKind.NODE:
        return None  # of all that is said of a node, only membership's word means its end
    if definition.deregister_critical_after_ms <= 0 or state.health is not Health.CRITICAL or state.held:
        return None
    after_s = max(definition.deregister_critical_after_ms / 1000, AFTER_S_MIN)
    since_ms = state.critical_since_ms or state.changed_at_ms or now_ms
    passed_s = (now_ms - since_ms) / 1000
    return min(max(after_s - passed_s, WATCHED_S_MIN), after_s)
