"""etcdctl cannot tell Orrery from etcd.

Goal: whatever a person does with etcdctl, the output is etcd's: standard output, standard error and exit code.

Method: `script.toml` is played against three members of Debian's etcd-server and against three members of Orrery,
both new and empty. What each step showed is compared, after `masks.py` has hidden ids, addresses, times and the
other things that it names; one test a step, so that a report names what differs. The comparison itself is tested
too: two etcd clusters do not differ, and one etcd cluster with other limits differs in exactly the steps that reach
those limits.
"""

import dataclasses
from pathlib import Path

import pytest

from tests.conformance.clusters import EtcdCluster, OrreryCluster, missing_for_etcd, missing_for_orrery
from tests.conformance.etcdctl.play import Player, Seen, closing, describe, differences
from tests.conformance.etcdctl.script import COMMANDS_MIN, load

STEPS = load()
COMPARED = [step.name for step in STEPS if step.compared]

pytestmark = [pytest.mark.usefixtures("etcdctl"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """What the script shows on etcd."""
    if reason := missing_for_etcd():
        pytest.skip(reason)
    with closing(EtcdCluster(tmp_path_factory.mktemp("oracle"))) as cluster:
        return Player(cluster).play(STEPS)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """What the script shows on Orrery."""
    if reason := missing_for_orrery():
        pytest.skip(reason)
    with closing(OrreryCluster(tmp_path_factory.mktemp("orrery"))) as cluster:
        return Player(cluster).play(STEPS)


@pytest.mark.parametrize("name", COMPARED)
def test_orrery_shows_what_etcd_shows(name: str, oracle: dict[str, Seen], seen: dict[str, Seen]) -> None:
    if oracle[name].comparable != seen[name].comparable:
        pytest.fail(describe(name, oracle[name], seen[name]), pytrace=False)


def test_the_script_is_long_enough() -> None:
    assert len(COMPARED) >= COMMANDS_MIN


def test_etcd_shows_what_etcd_shows(oracle: dict[str, Seen], tmp_path: Path) -> None:
    """The script is deterministic and the masks hide enough: another etcd shows the same."""
    with closing(EtcdCluster(tmp_path / "another")) as cluster:
        again = Player(cluster).play(STEPS)
    assert not differences(oracle, again), "\n".join(differences(oracle, again).values())


def test_another_behaviour_is_seen(oracle: dict[str, Seen], tmp_path: Path) -> None:
    """The comparison can fail, through the whole way: an etcd with other limits differs where they are reached."""
    limits = ("--max-txn-ops", "64", "--max-request-bytes", "900000")
    with closing(EtcdCluster(tmp_path / "limited", *limits)) as cluster:
        limited = Player(cluster).play(STEPS)
    found = differences(oracle, limited)
    assert {
        "txn: 128 operations are allowed",
        "many keys are deleted at once",
        "put a value of a million bytes",
        "the big value is there",
        "del the big value",
    } <= set(found)
    # Everything before the first limit is equal, so it was the limit that was seen and nothing else.
    first = COMPARED.index("txn: 128 operations are allowed")
    assert not set(COMPARED[:first]) & set(found)


@pytest.mark.parametrize("what", ["stdout", "stderr", "exit_code"])
def test_one_altered_output_is_seen(what: str, oracle: dict[str, Seen]) -> None:
    """The comparison can fail in every step: the smallest change of any output is a difference."""
    for name, step in oracle.items():
        match what:
            case "stdout":
                altered = dataclasses.replace(step, stdout=step.stdout + " ")
            case "stderr":
                altered = dataclasses.replace(step, stderr=step.stderr + "\n")
            case _:
                altered = dataclasses.replace(step, exit_code=step.exit_code + 1)
        assert set(differences(oracle, {**oracle, name: altered})) == {name}


def test_a_missing_step_is_seen(oracle: dict[str, Seen]) -> None:
    fewer = dict(list(oracle.items())[:-1])
    assert set(differences(oracle, fewer)) == {COMPARED[-1]}
    assert set(differences(fewer, oracle)) == {COMPARED[-1]}
