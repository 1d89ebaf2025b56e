import pytest

from runtime.config import ConfigError, describe, load
from services.registry.checks.options import CheckOptions
from services.registry.config import ChecksSection, RegistryConfig

TEXT = """
node = "registry-2"
data_dir = "x"
[admin]
listen = "127.0.0.1:1"
[log]
level = "info"
[registry]
listen = "127.0.0.1:2"
advertise = "127.0.0.1:2"
kv = ["127.0.0.1:3", "127.0.0.1:4"]
[dns]
listen = ["127.0.0.1:5"]
[membership]
listen = "127.0.0.1:6"
seeds = ["127.0.0.1:7"]
"""


def test_the_file_of_orrery_up_is_understood() -> None:
    config = load(RegistryConfig, TEXT, {})
    assert config.registry.kv == ("127.0.0.1:3", "127.0.0.1:4")
    assert config.dns.listen == ("127.0.0.1:5",)
    assert load(RegistryConfig, TEXT, {"ORRERY_REGISTRY__KV": "a:1,b:2"}).registry.kv == ("a:1", "b:2")


@pytest.mark.parametrize(
    "line",
    [
        "kv = []",
        'kv = ["x:y"]',
        "drain_ms = -1",
        "watchers_max = 0",
        'unknown = "x"',
        'listen = "a:b"',
        'shared_node = "a b"',
        'shared_address = "a b"',
        "process_ttl_s = 1",
    ],
)
def test_a_bad_value_is_named(line: str) -> None:
    with pytest.raises(ConfigError):
        load(RegistryConfig, f"[registry]\n{line}\n", {})


@pytest.mark.parametrize(
    "line", ["flap_suppress = 1.0", "preserve_share = 1.5", "probes_max = 0", 'networks_denied = ["x"]']
)
def test_a_bad_value_of_the_checks_is_named(line: str) -> None:
    with pytest.raises(ConfigError):
        load(RegistryConfig, f"[checks]\n{line}\n", {})


def test_the_defaults_of_the_checks_are_theirs() -> None:
    assert ChecksSection().options() == CheckOptions()


def test_every_key_is_described() -> None:
    text = describe(RegistryConfig)
    for key in ("shared_node", "process_ttl_s", "preserve_share", "service_ttl_s"):
        assert key in text
