"""The section [membership]: milliseconds become ticks, and what makes no sense is refused by its key."""

import msgspec
import pytest

from cluster.membership.config import MembershipSection, membership_options
from runtime.config import ConfigError, describe, load


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    membership: MembershipSection = MembershipSection()


def test_it_is_off_unless_it_listens() -> None:
    assert membership_options(load(Config, None, {}).membership, "a") is None


def test_milliseconds_become_ticks() -> None:
    environ = {"ORRERY_MEMBERSHIP__LISTEN": "127.0.0.1:7946", "ORRERY_MEMBERSHIP__SEEDS": "a:1,b:2"}
    options = membership_options(load(Config, None, environ).membership, "a")
    assert options is not None
    assert (options.tick_s, options.seeds, options.name) == (0.1, ("a:1", "b:2"), "a")
    swim = options.swim
    assert (swim.probe_interval_ticks, swim.probe_timeout_ticks, swim.nack_ticks, swim.gossip_ticks) == (10, 5, 4, 2)
    assert (swim.sync_ticks, swim.reconnect_ticks, swim.reap_ticks) == (300, 100, 864_000)


@pytest.mark.parametrize(("interval", "timeout"), [(1_000, 500), (200, 100), (100, 10), (5_000, 1_234), (300, 100)])
def test_all_that_is_allowed_makes_sense(interval: int, timeout: int) -> None:
    for tick in (5, 20, 100):
        section = MembershipSection("127.0.0.1:1", tick_ms=tick, probe_interval_ms=interval, probe_timeout_ms=timeout)
        if timeout < tick or 2 * max(1, round(timeout / tick)) > max(2, round(interval / tick)):
            continue
        assert membership_options(section, "a") is not None


@pytest.mark.parametrize(
    ("section", "why"),
    [
        (MembershipSection("127.0.0.1:1", probe_timeout_ms=600), "probe_timeout_ms"),
        (MembershipSection("127.0.0.1:1", keys=("!",)), "base64"),
        (MembershipSection("127.0.0.1:1", keys=("YWJj",)), "16, 24 or 32"),
        (MembershipSection("127.0.0.1"), "host:port"),
        (MembershipSection("127.0.0.1:1", seeds=("nowhere",)), "host:port"),
    ],
)
def test_what_makes_no_sense_is_refused(section: MembershipSection, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        membership_options(section, "a")


def test_an_unknown_key_and_a_bad_value_are_named() -> None:
    for text, key in (("[membership]\nseed = []", "membership.seed"), ("[membership]\ntick_ms = 0", "tick_ms")):
        with pytest.raises(ConfigError, match=key):
            load(Config, text, {})


def test_every_key_is_described() -> None:
    assert describe(Config).count("# default:") == len(MembershipSection.__struct_fields__)
