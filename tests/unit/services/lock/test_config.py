import pytest

from runtime.config import ConfigError, describe, load
from services.lock.config import LockConfig


def test_the_file_of_orrery_up_is_understood() -> None:
    text = """
node = "lock-2"
data_dir = "x"
[admin]
listen = "127.0.0.1:1"
[log]
level = "info"
[lock]
listen = "127.0.0.1:2"
advertise = "127.0.0.1:2"
kv = ["127.0.0.1:3", "127.0.0.1:4"]
"""
    config = load(LockConfig, text, {})
    assert config.lock.kv == ("127.0.0.1:3", "127.0.0.1:4")
    assert load(LockConfig, text, {"ORRERY_LOCK__KV": "a:1,b:2"}).lock.kv == ("a:1", "b:2")
    assert load(LockConfig, text, {"ORRERY_LOCK_ENDPOINTS": "127.0.0.1:9"}).node == "lock-2"


@pytest.mark.parametrize(
    "line", ["kv = []", 'kv = ["x:y"]', "drain_ms = -1", "waiters_max = 0", 'unknown = "x"', 'listen = "a:b"']
)
def test_a_bad_value_is_named(line: str) -> None:
    with pytest.raises(ConfigError):
        load(LockConfig, f"[lock]\n{line}\n", {})


@pytest.mark.parametrize(
    "text", ['[membership]\nlisten = "nowhere"', "[registration]\nttl_ms = 1", "[membership]\ntick_ms = 0"]
)
def test_a_bad_value_of_what_all_processes_share_is_named(text: str) -> None:
    with pytest.raises(ConfigError):
        load(LockConfig, text, {})


def test_every_setting_is_described() -> None:
    assert "waiters_max" in describe(LockConfig)
