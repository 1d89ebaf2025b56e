import pytest

from runtime.config import ConfigError, describe, load
from services.kv.config import KvConfig


def test_the_keys_that_others_rely_on() -> None:
    config = load(
        KvConfig,
        '[log]\nlevel = "debug"\n[kv]\nadvertise = "10.0.0.1:2379"\npeer_listen = "0.0.0.0:1"\ncluster_token = "t"',
        {
            "ORRERY_NODE": "kv-2",
            "ORRERY_DATA_DIR": "/d",
            "ORRERY_ADMIN__LISTEN": "127.0.0.1:3",
            "ORRERY_KV__LISTEN": "127.0.0.1:4",
            "ORRERY_KV__MEMBERS": "kv-1=127.0.0.1:23791,kv-2=127.0.0.1:23792",
        },
    )
    assert (config.node, config.data_dir, config.admin.listen, config.log.level) == (
        "kv-2",
        "/d",
        "127.0.0.1:3",
        "debug",
    )
    assert config.kv.listen == "127.0.0.1:4"
    assert config.kv.members == ("kv-1=127.0.0.1:23791", "kv-2=127.0.0.1:23792")
    assert (config.kv.advertise, config.kv.peer_listen, config.kv.cluster_token) == ("10.0.0.1:2379", "0.0.0.0:1", "t")


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"ORRERY_KV__MEMBERS": "kv-1"}, "name=host:port"),
        ({"ORRERY_KV__MEMBERS": "kv-1=h:1,kv-1=h:2"}, "same name"),
        ({"ORRERY_KV__MEMBERS": "kv-1=h:99999"}, "name=host:port"),
        ({"ORRERY_NODE": "kv-9"}, "kv-9"),
        ({"ORRERY_KV__ELECTION_MS": "200"}, "election_ms"),
        ({"ORRERY_KV__LISTN": "x"}, "listn"),
        ({"ORRERY_MEMBERSHIP__LISTEN": "nowhere"}, "host:port"),
        ({"ORRERY_MEMBERSHIP__LISTEN": "h:1", "ORRERY_MEMBERSHIP__PROBE_TIMEOUT_MS": "900"}, "probe_timeout_ms"),
        ({"ORRERY_REGISTRATION__ENDPOINTS": "nowhere"}, "host:port"),
        ({"ORRERY_REGISTRATION__TTL_MS": "1"}, "ttl_ms"),
    ],
)
def test_bad_values_are_named(environment: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load(KvConfig, None, environment)


def test_every_field_is_documented() -> None:
    text = describe(KvConfig)
    assert "election" in text
    assert text.count("# default") >= 15
