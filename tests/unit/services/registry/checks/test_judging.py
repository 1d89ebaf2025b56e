import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.checks.judging import (
    DEFAULT_DAMPING,
    OUTPUT_BYTES_MAX,
    Damping,
    cut_output,
    initial_state,
    observe,
)
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health

TTL = CheckDefinition(id="c", name="c", kind=CheckKind.TTL, instance_id="i", ttl_ms=1000)
NODE = CheckDefinition(id="serfHealth", name="n", kind=CheckKind.NODE)
HEALTHS = st.sampled_from(list(Health))
P, W, C = Health.PASSING, Health.WARNING, Health.CRITICAL


def test_the_same_again_is_the_same_state() -> None:
    for health in (P, W, C):
        state = CheckState(health=health, output="once", changed_at_ms=5)
        assert observe(TTL, state, health, "twice", 99) is state


def test_a_flip_says_when_and_why() -> None:
    state = observe(TTL, CheckState(health=P, changed_at_ms=5), C, "boom", 1_000)
    assert (state.health, state.output, state.changed_at_ms, state.critical_since_ms) == (C, "boom", 1_000, 1_000)
    again = observe(TTL, state, W, "better", 2_000)
    assert (again.health, again.output, again.changed_at_ms, again.critical_since_ms) == (W, "better", 2_000, 0)


def test_one_that_starts_critical_owes_nothing_for_it() -> None:
    state = initial_state(TTL, 1_000)
    assert state.health is C
    assert state.critical_since_ms == 1_000
    assert observe(TTL, state, P, "", 1_001).penalty == 0.0
    passing = CheckDefinition(id="c", name="c", kind=CheckKind.TTL, initial=P)
    assert initial_state(passing, 7) == CheckState(health=P, changed_at_ms=7)


def flap(definition: CheckDefinition, times: int, every_ms: int) -> tuple[CheckState, int]:
    state, now_ms = CheckState(health=P), 1_000_000
    for _ in range(times):
        now_ms += every_ms
        state = observe(definition, state, C, "down", now_ms)
        now_ms += every_ms
        state = observe(definition, state, P, "up", now_ms)
    return state, now_ms


def test_a_crash_loop_is_held_critical_and_then_let_go() -> None:
    assert flap(TTL, 4, 100)[0].health is P
    state, now_ms = flap(TTL, 5, 100)
    assert state.health is C
    assert state.held
    assert "up" in state.output
    until_ms = DEFAULT_DAMPING.held_until_ms(state)
    assert 120_000 < until_ms - now_ms < 150_000
    assert observe(TTL, state, P, "up", until_ms - 1_000) is state
    free = observe(TTL, state, W, "up", until_ms)
    assert (free.health, free.held, free.critical_since_ms) == (W, False, 0)


def test_a_slow_flapper_is_not_held() -> None:
    state, _ = flap(TTL, 200, 30_000)
    assert state.health is P


def test_a_held_check_that_fails_starts_its_critical_time_anew() -> None:
    state, now_ms = flap(TTL, 5, 100)
    failed = observe(TTL, state, C, "down", now_ms + 50)
    assert (failed.held, failed.critical_since_ms) == (False, now_ms + 50)
    assert failed.penalty > state.penalty


def test_the_hold_is_bounded_however_often_it_flapped() -> None:
    state, now_ms = flap(TTL, 1_000, 10)
    assert state.held
    assert DEFAULT_DAMPING.held_until_ms(state) - now_ms <= DEFAULT_DAMPING.hold_ms_max + 2


def test_a_clock_that_goes_back_makes_no_penalty_larger() -> None:
    state = CheckState(P, penalty=1.0, changed_at_ms=10_000_000)
    assert DEFAULT_DAMPING.penalty(state, 0) == 1.0
    assert observe(TTL, state, C, "", 0).penalty == 2.0


def test_nodes_are_not_damped() -> None:
    state, _ = flap(NODE, 50, 10)
    assert state.health is P
    assert state.penalty == 0


@given(st.lists(st.tuples(HEALTHS, st.integers(-1_000, 100_000)), max_size=60))
def test_invariants(results: list[tuple[Health, int]]) -> None:
    """After any history, with clocks that go back too: what must hold of each state."""
    state, now_ms = initial_state(TTL, 1_000_000), 1_000_000
    last_turn_ms = 0
    for health, step_ms in results:
        now_ms += step_ms
        before, state = state, observe(TTL, state, health, "o", now_ms)
        if state is before:
            assert health is before.health or before.held or before.health is C
        assert 0.0 <= state.penalty <= DEFAULT_DAMPING.ceiling
        assert (state.critical_since_ms > 0) == (state.health is C)
        assert not state.held or state.health is C
        if health is C:
            assert state.health is C
            assert not state.held
            if state is not before:
                last_turn_ms = now_ms
        else:
            assert state.held or state.health is not C
        if state.held:
            assert DEFAULT_DAMPING.held_until_ms(state) <= max(now_ms, last_turn_ms, state.changed_at_ms) + (
                DEFAULT_DAMPING.hold_ms_max + 2
            )


@given(HEALTHS, st.floats(1.001, 32.0), st.sampled_from([P, W]))
def test_what_is_held_goes_at_its_time_and_not_before(raw: Health, penalty: float, better: Health) -> None:
    state = CheckState(health=C, held=True, penalty=penalty, changed_at_ms=1_000_000, critical_since_ms=1)
    until_ms = DEFAULT_DAMPING.held_until_ms(state)
    assert observe(TTL, state, better, "", until_ms).health is better
    if until_ms - 2 > state.changed_at_ms:
        assert observe(TTL, state, better, "", until_ms - 2) is state


def test_numbers_that_cannot_damp_are_refused() -> None:
    with pytest.raises(ValueError, match="reuse"):
        Damping(reuse=5.0)
    with pytest.raises(ValueError, match="hold_ms_max"):
        Damping(hold_ms_max=60_000)


@given(st.text(st.characters(codec=None), max_size=6_000))
def test_an_output_is_cut_to_its_beginning_and_can_be_written(text: str) -> None:
    cut = cut_output(text)
    raw = cut.encode()  # a lone surrogate would raise
    assert len(raw) <= OUTPUT_BYTES_MAX
    clean = text.encode("utf-8", "replace").decode()
    for before, after in zip(clean, cut, strict=False):
        assert after == before or (after == "?" and not before.isprintable())
    if len(clean.encode()) <= OUTPUT_BYTES_MAX:
        assert len(cut) == len(clean)


def test_what_a_terminal_would_obey_is_taken_out() -> None:
    assert cut_output("a\x1b[2Jb\n\tc\x00\u202e") == "a?[2Jb\n\tc??"


def test_a_long_output_is_cut_between_characters() -> None:
    assert cut_output("x" + "€" * 3_000) == "x" + "€" * 1365
    assert len(cut_output("y" * 10_000)) == OUTPUT_BYTES_MAX


def test_the_first_output_of_a_check_that_began_critical_is_kept() -> None:
    began = initial_state(TTL, 1_000)
    told = observe(TTL, began, C, "connection refused", 2_000)
    assert (told.health, told.output, told.changed_at_ms) == (C, "connection refused", 1_000)
    assert told.critical_since_ms == began.critical_since_ms == 1_000
    assert observe(TTL, told, C, "another reason", 3_000) is told
    assert observe(TTL, began, C, "", 2_000) is began
