"""The section [registration]."""

import msgspec
import pytest

from cluster.presence.config import RegistrationSection
from runtime.config import ConfigError, describe, load


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    registration: RegistrationSection = RegistrationSection()


def test_it_is_on_and_finds_the_registry_by_itself() -> None:
    section = load(Config, None, {}).registration
    assert (section.enabled, section.endpoints, section.tags, section.ttl_ms) == (True, (), (), 15_000)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('endpoints = ["nowhere"]', "host:port"),
        ("ttl_ms = 999", "registration.ttl_ms"),
        ("ttl = 1", "registration.ttl"),
        ('enabled = "x"', "registration.enabled"),
    ],
)
def test_what_makes_no_sense_is_named(line: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load(Config, f"[registration]\n{line}", {})


def test_every_key_is_described() -> None:
    assert describe(Config).count("# default:") == len(RegistrationSection.__struct_fields__)
