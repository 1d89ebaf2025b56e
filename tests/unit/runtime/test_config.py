"""Configuration: what is wrong is named, with its source."""

from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.config import ConfigError, describe, load, parse


class Kv(msgspec.Struct, forbid_unknown_fields=True):
    listen: Annotated[str, msgspec.Meta(description="Address to serve on.")] = "127.0.0.1:2379"
    tick_ms: Annotated[int, msgspec.Meta(description="Milliseconds.\nToo low: elections.", ge=1)] = 100
    seeds: Annotated[list[str], msgspec.Meta(description="Peers.")] = []
    ids: Annotated[tuple[int, ...], msgspec.Meta(description="Ids.")] = ()
    quick: bool = False
    engine: Literal["memory", "lsm"] = "memory"


class Config(msgspec.Struct, forbid_unknown_fields=True):
    node: Annotated[str, msgspec.Meta(description="The node's name.")]
    kv: Annotated[Kv, msgspec.Meta(description="The key-value service.")] = msgspec.field(default_factory=Kv)
    peers: list[str] = []
    dns: Kv = msgspec.field(default_factory=Kv)


def test_environment_overrides_the_file() -> None:
    environ = {
        "ORRERY_KV__LISTEN": ":1",
        "ORRERY_KV__IDS": "1, 2",
        "ORRERY_KV__QUICK": "true",
        "ORRERY_PEERS": "a,b",
        "ORRERY_DNS": "127.0.0.1:53",
        "HOME": "/",
    }
    config = load(Config, 'node = "n1"\n[kv]\nlisten = ":0"\ntick_ms = 7\nseeds = ["x"]\n', environ)
    assert config == Config("n1", Kv(":1", 7, ["x"], (1, 2), True), ["a", "b"])


@pytest.mark.parametrize(
    ("toml", "environ", "words"),
    [
        ('node = "n"\nnope = 1', {}, ["nope", "the file", "unknown key", "kv"]),
        ('node = "n"\n[kv]\nnope = 1', {}, ["kv.nope", "the file", "listen"]),
        ('node = "n"\n[kv]\ntick_ms = 0', {}, ["kv.tick_ms", "the file", ">= 1"]),
        ('node = "n"\n[kv]\ntick_ms = "7"', {}, ["kv.tick_ms", "int"]),
        ('node = "n"\nkv = 3', {}, ["kv", "the file"]),
        ("node = ", {}, ["the file", "not TOML"]),
        (None, {}, ["node"]),
        ('node = "n"', {"ORRERY_KV__TICK_MS": "soon"}, ["kv.tick_ms", "ORRERY_KV__TICK_MS", "int"]),
        ('node = "n"', {"ORRERY_KV__NOPE": "1"}, ["ORRERY_KV__NOPE", "ORRERY_KV__LISTEN"]),
        ('node = "n"', {"ORRERY_KV": "1"}, ["ORRERY_KV", "section"]),
        ('node = "n"', {"ORRERY_NODE__X": "1"}, ["node.x"]),
        ('node = "n"', {"ORRERY_KV__ENGINE": "tape"}, ["kv.engine", "there are: memory, lsm"]),
    ],
)
def test_errors_name_key_source_and_expectation(toml: str | None, environ: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Config, toml, environ)
    for word in words:
        assert word in str(caught.value)


@given(st.text(max_size=60), st.dictionaries(st.text("KVNODE_TICMS", max_size=9).map("ORRERY_".__add__), st.text()))
def test_arbitrary_input_gives_a_configuration_or_an_error(toml: str, environ: dict[str, str]) -> None:
    try:
        load(Config, toml, environ)
    except ConfigError:
        pass


def test_the_description_names_every_key() -> None:
    text = describe(Config)
    for word in ("# required; environment: ORRERY_NODE", "[kv]", "ORRERY_KV__TICK_MS", "# Too low: elections.", "100"):
        assert word in text
    assert load(Config, 'node = "n"\n' + text, {}) == Config("n")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [("kv.tick_ms", "7", 7), ("kv.quick", "true", True), ("kv.ids", "1, 2", [1, 2]), ("node", "x", "x")],
)
def test_one_key_is_read_by_itself(key: str, text: str, value: object) -> None:
    assert parse(Config, key, text, "--set") == value


@pytest.mark.parametrize(
    ("key", "text", "why"),
    [
        ("kv.tik_ms", "7", "kv.tik_ms (--set): unknown key; known here: kv.engine, kv.ids,"),
        ("kv.tick_ms", "0", "kv.tick_ms (--set): Expected `int` >= 1"),
        ("kv", "0", "kv (--set): is a section; name a key of it behind a dot"),
    ],
)
def test_one_key_that_cannot_be_is_named(key: str, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Config, key, text, "--set")
    assert why in str(caught.value)
