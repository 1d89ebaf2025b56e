"""Checks in virtual time: expiry, probes, owners, kv's absence, reaping, damping, self-preservation.

The catalogue, the registrar and the arithmetic are the real ones; kv, membership and the instances are told what to do.
"""

import asyncio
import itertools

from services.registry.catalogue import BeatRecord, Key, KeyKind, Update
from services.registry.checks.judging import DEFAULT_DAMPING
from services.registry.checks.options import CheckOptions
from services.registry.checks.preservation import Allowance
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health
from services.registry.interface import Check
from tests.unit.services.registry.checks.living import Living, play, tcp, ttl

P, W, C = Health.PASSING, Health.WARNING, Health.CRITICAL


def test_a_ttl_check_turns_critical_when_its_time_is_over_and_passes_by_a_beat() -> None:
    async def scenario(living: Living) -> None:
        living.start()
        await living.add(ttl())
        await living.beat("t")
        assert living.health("t") is P
        await asyncio.sleep(120)
        assert living.health("t") is P  # its lease is kv's to end
        living.store.expire("orrery", "t")
        await living.until(lambda: living.health("t") is C, 1)
        assert living.state("t").output == "TTL expired"
        await living.beat("t")
        assert living.health("t") is P

    play(scenario)


def test_what_expired_while_nobody_looked_is_found_at_the_start_and_when_the_copy_is_read_anew() -> None:
    async def scenario(living: Living) -> None:
        await living.add(ttl("t1"), ttl("t2"))
        for check_id in ("t1", "t2"):
            await living.beat(check_id)
        living.store.expire("orrery", "t1")
        living.start()
        await living.until(lambda: living.health("t1") is C, 2)
        # The beat's record goes without a word, and then the copy is read anew.
        copy = living.catalogue
        kept = [
            (key, stored) for key, stored in copy._records.items() if not (key.kind.value == "beats" and key.id == "t2")
        ]
        copy.reset([Update(key, stored.value, stored.revision, stored.lease) for key, stored in kept], copy.revision)
        await living.until(lambda: living.health("t2") is C, 2)

    play(scenario)


def test_one_that_says_by_itself_that_it_is_critical_is_left_alone() -> None:
    async def scenario(living: Living) -> None:
        living.start()
        await living.add(ttl())
        await living.beat("t", W)
        await living.beat("t", C)
        await asyncio.sleep(60)
        assert living.health("t") is C
        assert living.state("t").output == ""

    play(scenario)


def test_a_probed_check_flips_when_enough_results_came_in_a_row() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start()
        await living.add(tcp("p", 1_000, successes_before_passing=3, failures_before_critical=2))
        await asyncio.sleep(1.9)
        assert living.health("p") is C
        await living.until(lambda: living.health("p") is P, 3)
        assert living.answers.asked["p:80"] == 3
        assert living.state("p").output == "p:80 says passing"
        living.answers.health["p:80"] = C
        asked = living.answers.asked["p:80"]
        await living.until(lambda: living.health("p") is C, 5)
        assert living.answers.asked["p:80"] == asked + 2
        living.answers.health["p:80"] = W
        await living.until(lambda: living.health("p") is W, 5)
        assert checks.counters.probes[CheckKind.TCP, C] == 2
        assert checks.counters.flips[CheckKind.TCP, C] == 1
        # Results that say the same are not written.
        commits = living.store.commits
        await asyncio.sleep(100)
        assert living.store.commits == commits

    play(scenario)


def test_probes_are_spread_and_keep_their_interval() -> None:
    async def scenario(living: Living) -> None:
        living.start(options=CheckOptions(probes_max=5))
        for number in range(100):
            await living.add(tcp(f"p{number}", 10_000), instance=f"i{number}")
        await asyncio.sleep(100)
        first = [living.answers.times[index][0] for index in range(100)]
        busiest = max(sum(at <= other < at + 1.0 for other in first) for at in first)
        assert busiest < 30  # of 100 within 10 s: never in step
        assert living.answers.under_way_max <= 5
        for number in range(100):
            times = [at for at, target in living.answers.times if target == f"p{number}:80"]
            assert 9 <= len(times) <= 11
            assert all(abs(later - at - 10.0) < 1.0 for at, later in itertools.pairwise(times))

    play(scenario)


def test_slow_answers_hold_at_most_as_many_places_as_there_are() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start(options=CheckOptions(probes_max=4))
        living.answers.takes_s = 5.0
        for number in range(40):
            await living.add(tcp(f"p{number}", 10_000), instance=f"i{number}")
        await asyncio.sleep(200)
        assert living.answers.under_way_max == 4
        assert checks.probes_skipped > 0
        counts = [living.answers.asked[f"p{number}:80"] for number in range(40)]
        assert min(counts) >= 2  # nobody starves
        assert max(counts) - min(counts) <= 2

    play(scenario)


def test_a_probe_that_breaks_us_is_a_failure_and_not_our_end() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start()
        await living.add(tcp("p", 1_000, initial=P))
        living.answers.fault = RuntimeError("nobody thought of this")
        await living.until(lambda: living.health("p") is C, 5)
        assert checks.counters.probe_faults == 1
        living.answers.fault = None
        await living.until(lambda: living.health("p") is P, 5)

    play(scenario)


def test_a_check_that_is_changed_or_goes_is_asked_no_more() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start()
        await living.add(tcp("p", 1_000))
        await living.until(lambda: living.health("p") is P)
        await living.add(tcp("p", 1_000, target="elsewhere:80"))
        await asyncio.sleep(1.5)
        asked = living.answers.asked["p:80"]
        await asyncio.sleep(10)
        assert living.answers.asked["p:80"] == asked
        assert living.answers.asked["elsewhere:80"] > 5
        assert checks.owned == 1
        await living.registrar.deregister("orrery", "i")
        asked = living.answers.asked["elsewhere:80"]
        await asyncio.sleep(10)
        assert living.answers.asked["elsewhere:80"] <= asked + 1
        assert checks.owned == 0

    play(scenario)


def test_every_check_has_one_owner_and_goes_to_another_when_that_dies() -> None:
    async def scenario(living: Living) -> None:
        first, second = living.start("a"), living.start("b")
        for number in range(40):
            await living.add(tcp(f"p{number}", 5_000), instance=f"i{number}")
        await asyncio.sleep(11)
        assert first.owned + second.owned == 40
        assert min(first.owned, second.owned) > 8
        living.answers.asked.clear()
        await asyncio.sleep(50)
        assert all(9 <= count <= 11 for count in living.answers.asked.values())
        await living.stop("a")
        await living.until(lambda: second.owned == 40, 2)
        living.answers.health = {f"p{number}:80": C for number in range(5)}
        await living.until(lambda: all(living.health(f"p{number}") is C for number in range(5)), 6)
        third = living.start("c")
        await living.until(lambda: third.owned + second.owned == 40 and third.owned > 8, 2)

    play(scenario)


def test_while_kv_is_away_results_are_kept_and_written_when_it_is_back() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start()
        await living.add(tcp("p", 1_000), ttl("t"))
        await living.beat("t")
        await living.until(lambda: living.health("p") is P)
        living.store.away = True
        living.answers.health["p:80"] = C
        await asyncio.sleep(30)
        assert living.health("p") is P
        assert checks.unwritten > 0
        commits = living.store.commits
        living.store.away = False
        await living.until(lambda: living.health("p") is C, 10)
        assert living.store.commits == commits + 1

    play(scenario)


def test_nothing_is_written_before_the_copy_is_there() -> None:
    async def scenario(living: Living) -> None:
        await living.add(ttl("t", initial=P))
        living.store.expire("orrery", "t")
        living.catalogue._ready = False
        commits = living.store.commits
        living.start()
        await asyncio.sleep(60)
        assert living.store.commits == commits
        living.catalogue._ready = True
        await living.until(lambda: living.health("t") is C, 2)

    play(scenario)


def test_nothing_is_written_by_a_copy_that_may_be_old() -> None:
    async def scenario(living: Living) -> None:
        living.start()
        await living.add(tcp("p", 1_000))
        await living.until(lambda: living.health("p") is P)
        living.silent = True
        await asyncio.sleep(10)
        living.answers.health["p:80"] = C
        commits = living.store.commits
        await asyncio.sleep(30)
        assert living.store.commits == commits
        living.silent = False
        await living.until(lambda: living.health("p") is C, 3)

    play(scenario)


def test_a_write_that_comes_second_is_considered_anew() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start()
        await living.add(ttl("t"))
        await living.beat("t")
        written = living.registrar.set_state
        states: list[Health] = []

        async def race(check: Check, state: CheckState, *, unless_beating: bool = False) -> bool:
            # Between what was read and what is written, the client says something.
            states.append(check.state.health)
            if len(states) == 1:
                await living.beat("t", W)
            return await written(check, state, unless_beating=unless_beating)

        living.registrar.set_state = race  # type: ignore[method-assign]
        living.store.expire("orrery", "t")
        await asyncio.sleep(5)
        assert checks.counters.writes_lost == 1
        assert living.health("t") is W  # it beats, and so nothing has expired any more

    play(scenario)


def test_a_beat_that_changes_nothing_but_the_time_saves_a_check_at_the_last_moment() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start()
        await living.add(ttl("t"))
        await living.beat("t")
        written = living.registrar.set_state

        async def race(check: Check, state: CheckState, *, unless_beating: bool = False) -> bool:
            # Another process writes the beat's record anew; the check itself stays as it was.
            living.store.revision += 1
            beat = Update(Key(KeyKind.BEAT, "orrery", "t"), BeatRecord(10), living.store.revision)
            living.catalogue.apply([beat], living.store.revision)
            return await written(check, state, unless_beating=unless_beating)

        living.registrar.set_state = race  # type: ignore[method-assign]
        living.store.expire("orrery", "t")
        await asyncio.sleep(5)
        assert checks.counters.writes_lost == 1
        assert living.health("t") is P

    play(scenario)


def test_what_stays_critical_is_deregistered_after_its_time_and_not_before() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start()
        await living.add(ttl("t", deregister_critical_after_ms=90_000))
        await living.beat("t")
        await asyncio.sleep(200)
        living.store.expire("orrery", "t")
        await asyncio.sleep(88)
        assert living.catalogue.instance("orrery", "i") is not None
        await living.until(lambda: living.catalogue.instance("orrery", "i") is None, 4)
        assert checks.counters.reaped == 1

    play(scenario)


def test_what_recovers_in_time_stays() -> None:
    async def scenario(living: Living) -> None:
        living.start()
        await living.add(ttl("t", deregister_critical_after_ms=90_000))
        for _ in range(4):
            await living.beat("t")
            await asyncio.sleep(100)
            living.store.expire("orrery", "t")
            await asyncio.sleep(80)
        await living.beat("t")
        await asyncio.sleep(100)
        assert living.catalogue.instance("orrery", "i") is not None

    play(scenario)


def test_a_wall_clock_that_is_put_forward_takes_nobody_away() -> None:
    async def scenario(living: Living) -> None:
        living.start()
        await living.add(ttl("t", deregister_critical_after_ms=90_000))
        await asyncio.sleep(1)
        living.clock.step_s = 1e6
        await asyncio.sleep(60)
        assert living.catalogue.instance("orrery", "i") is not None
        await living.until(lambda: living.catalogue.instance("orrery", "i") is None, 60)

    play(scenario)


def test_reaping_waits_for_kv() -> None:
    async def scenario(living: Living) -> None:
        living.start()
        await living.add(ttl("t", deregister_critical_after_ms=60_000))
        await asyncio.sleep(30)
        living.store.away = True
        await asyncio.sleep(120)
        assert living.catalogue.instance("orrery", "i") is not None
        living.store.away = False
        await living.until(lambda: living.catalogue.instance("orrery", "i") is None, 30)

    play(scenario)


def test_a_crash_loop_is_held_critical_and_let_go_in_time() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start()
        await living.add(tcp("p", 1_000), ttl("t"))
        for _ in range(5):
            await living.beat("t")
            await asyncio.sleep(1)
            living.store.expire("orrery", "t")
            await living.until(lambda: living.health("t") is C, 2)
        await living.beat("t")
        assert living.state("t").held
        until_s = DEFAULT_DAMPING.held_until_ms(living.state("t")) / 1000 - living.clock.wall_s()
        assert until_s > 100
        await asyncio.sleep(until_s - 1)
        assert living.state("t").held
        await asyncio.sleep(2)
        assert living.health("t") is P  # at its time, and not at the next sweep
        for _ in range(5):
            for health in (P, C):
                living.answers.health["p:80"] = health
                await living.until(lambda wanted=health: living.health("p") is wanted, 3)  # type: ignore[misc]
        living.answers.health["p:80"] = P
        await living.until(lambda: living.state("p").held, 3)
        assert checks.counters.holds == 1  # the one of the TTL check was the registrar's
        await living.until(lambda: living.health("p") is P, 200)

    play(scenario)


def test_a_hold_outlives_the_process_that_made_it() -> None:
    async def scenario(living: Living) -> None:
        living.start("a")
        await living.add(ttl("t"))
        for _ in range(5):
            await living.beat("t")
            living.store.expire("orrery", "t")
            await living.until(lambda: living.health("t") is C, 2)
        await living.beat("t")
        assert living.state("t").held
        await living.stop("a")
        living.start("b")
        await living.until(lambda: living.health("t") is P, 200)

    play(scenario)


SMALL = CheckOptions(allowance=Allowance(share_max=0.15, count_min=10, window_s=120.0))


async def many(living: Living, count: int) -> list[CheckDefinition]:
    checks = [tcp(f"p{number}", 5_000, initial=P) for number in range(count)]
    for number, check in enumerate(checks):
        await living.add(check, instance=f"i{number}")
    await asyncio.sleep(11)
    return checks


def critical(living: Living) -> int:
    return sum(check.state.health is C for check in living.catalogue.checks())


def test_one_of_two_is_believed_at_once() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start(options=SMALL)
        await many(living, 2)
        living.answers.health["p0:80"] = C
        await living.until(lambda: living.health("p0") is C, 6)
        assert not checks.self_preservation

    play(scenario)


def test_when_too_many_fail_at_once_most_are_held_back_and_let_go_when_it_heals() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start(options=SMALL)
        definitions = await many(living, 100)
        living.answers.health = {check.target: C for check in definitions}
        await asyncio.sleep(30)
        assert critical(living) == 15
        assert checks.self_preservation
        assert checks.flips_held_back == 85
        assert checks.counters.held_back == 85
        living.answers.health.clear()
        await asyncio.sleep(12)
        assert critical(living) == 0
        assert not checks.self_preservation

    play(scenario)


def test_a_real_half_is_believed_after_the_window() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start(options=SMALL)
        definitions = await many(living, 100)
        living.answers.health = {check.target: C for check in definitions[:50]}
        await asyncio.sleep(100)
        assert critical(living) == 15
        await living.until(lambda: critical(living) == 50, 40)
        assert not checks.self_preservation

    play(scenario)


def test_what_clients_say_themselves_is_never_held_back() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start(options=SMALL)
        for number in range(100):
            await living.add(ttl(f"t{number}"), instance=f"i{number}")
            await living.beat(f"t{number}")
        for number in range(100):
            await living.beat(f"t{number}", C)
        assert critical(living) == 100
        for number in range(100):
            await living.beat(f"t{number}")
        for number in range(100):
            living.store.expire("orrery", f"t{number}")
        await asyncio.sleep(5)
        assert critical(living) == 15
        assert checks.flips_held_back == 85
        # Those that are held back report by themselves, each way, and are believed.
        waiting = [f"t{number}" for number in range(100) if living.health(f"t{number}") is P]
        for check_id in waiting[:40]:
            await living.beat(check_id, C)
        for check_id in waiting[40:]:
            await living.beat(check_id)
        await asyncio.sleep(2)
        assert checks.flips_held_back == 0
        assert critical(living) == 55

    play(scenario)


def test_nothing_is_taken_away_while_too_much_fails() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start(options=SMALL)
        await living.add(ttl("dead", deregister_critical_after_ms=60_000), instance="dead")
        await asyncio.sleep(30)
        definitions = await many(living, 100)
        living.answers.health = {check.target: C for check in definitions}
        await asyncio.sleep(60)
        assert checks.self_preservation
        assert living.catalogue.instance("orrery", "dead") is not None
        living.answers.health.clear()
        await living.until(lambda: living.catalogue.instance("orrery", "dead") is None, 60)

    play(scenario)


def test_held_turns_of_what_is_gone_are_forgotten() -> None:
    async def scenario(living: Living) -> None:
        checks = living.start(options=SMALL)
        definitions = await many(living, 30)
        living.answers.health = {check.target: C for check in definitions}
        await asyncio.sleep(12)
        assert checks.flips_held_back == 20
        for number in range(30):
            await living.registrar.deregister("orrery", f"i{number}")
        await asyncio.sleep(1)
        assert checks.flips_held_back == 0

    play(scenario)
