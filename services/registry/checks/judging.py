"""What a check says after a result: the arithmetic of flips, without I/O. The registrar uses it for beats, too.

Flap damping is that of BGP (RFC 2439, section 4): a penalty of 1 for each turn to critical, which halves with time. A
check that would pass again while its penalty is at `suppress` or more is held critical until the penalty has fallen to
`reuse`. The penalty has a ceiling, so that `hold_ms_max` after the last turn it is let go whatever it did before.

The penalty lives in the state that is kept, so every process comes to the same result, and a hold survives its owner.
"""

from dataclasses import dataclass
from math import ceil, log2

from msgspec.structs import replace

from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health

OUTPUT_BYTES_MAX = 4096
"""What is kept of an output, in UTF-8."""
_KEPT_CONTROLS = "\n\r\t"
UNDAMPED = frozenset({CheckKind.NODE, CheckKind.MAINTENANCE})
"""Membership has suspicions and refutations of its own against flapping, and an operator is to be obeyed."""


@dataclass(frozen=True, slots=True)
class Damping:
    """The numbers of flap damping. Penalties are counted in turns to critical."""

    half_life_ms: int = 60_000
    suppress: float = 4.0
    """Five turns in a row, or one every 15 s or so for minutes: no deployment does that, and a crash loop does."""
    reuse: float = 1.0
    hold_ms_max: int = 300_000
    """From the last turn to critical, however many there were."""

    def __post_init__(self) -> None:
        if self.half_life_ms <= 0 or not 0 < self.reuse < self.suppress:
            raise ValueError("damping needs half_life_ms > 0 and 0 < reuse < suppress")
        if self.ceiling <= self.suppress:
            raise ValueError("damping: within hold_ms_max a penalty must be able to fall from suppress to reuse")

    @property
    def ceiling(self) -> float:
        """The largest penalty: what halves to `reuse` within `hold_ms_max`."""
        return float(self.reuse * 2.0 ** (self.hold_ms_max / self.half_life_ms))

    def penalty(self, state: CheckState, now_ms: int) -> float:
        """What is left of a state's penalty. A clock that went back takes nothing away."""
        elapsed_ms = max(0, now_ms - state.changed_at_ms)
        return float(state.penalty * 2.0 ** (-elapsed_ms / self.half_life_ms))

    def held_until_ms(self, state: CheckState) -> int:
        """When a held state may be let go, if nothing happens until then."""
        if state.penalty <= self.reuse:
            return state.changed_at_ms
        # A millisecond more, so that rounding never leaves the penalty a hair above.
        return state.changed_at_ms + ceil(self.half_life_ms * log2(state.penalty / self.reuse)) + 1


DEFAULT_DAMPING = Damping()


def initial_state(definition: CheckDefinition, now_ms: int) -> CheckState:
    """What a new check says before its first result."""
    critical = definition.initial is Health.CRITICAL
    return CheckState(health=definition.initial, changed_at_ms=now_ms, critical_since_ms=now_ms if critical else 0)


def observe(
    definition: CheckDefinition,
    state: CheckState,
    health: Health,
    output: str,
    now_ms: int,
    damping: Damping = DEFAULT_DAMPING,
) -> CheckState:
    """The state after a result that counts (thresholds are behind it: see `thresholds`).

    Returns `state` itself when nothing is to be written: outputs are kept with flips only, and the first one of a check
    that began critical, which says why it stays so.
    """
    if health is Health.CRITICAL:
        if state.health is Health.CRITICAL and not state.held:
            return state if state.output or not output else replace(state, output=cut_output(output))
        penalty = 0.0
        if definition.kind not in UNDAMPED:
            penalty = min(damping.penalty(state, now_ms) + 1.0, damping.ceiling)
        return CheckState(
            health=health,
            output=cut_output(output),
            changed_at_ms=now_ms,
            critical_since_ms=now_ms,
            penalty=penalty,
        )
    penalty = damping.penalty(state, now_ms)
    if state.held:
        if penalty > damping.reuse:
            return state
    elif health is state.health:
        return state
    elif state.health is Health.CRITICAL and penalty >= damping.suppress and definition.kind not in UNDAMPED:
        return CheckState(
            health=Health.CRITICAL,
            output=cut_output(f"held critical because it flaps; it said {health.value}: {output}"),
            changed_at_ms=now_ms,
            critical_since_ms=state.critical_since_ms or now_ms,
            penalty=penalty,
            held=True,
        )
    return CheckState(health=health, output=cut_output(output), changed_at_ms=now_ms, penalty=penalty)


def cut_output(output: str) -> str:
    """The beginning of an output, at most OUTPUT_BYTES_MAX in UTF-8, always encodable, and without control characters
    but for ends of lines and tabs: a terminal would take them for orders.
    """
    raw = output[:OUTPUT_BYTES_MAX].encode("utf-8", "replace")
    output = raw[:OUTPUT_BYTES_MAX].decode("utf-8", "ignore")
    if output.isprintable():
        return output
    return "".join(letter if letter.isprintable() or letter in _KEPT_CONTROLS else "?" for letter in output)
