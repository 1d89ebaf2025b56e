"""Orrery answers raw requests, bad ones above all, as etcd does: code, message and content.

Goal: clients match on codes and messages, so both are part of the protocol.

Method: the same questions, in the same order, to new clusters of either kind; one test a question.
"""

import pytest

from cluster.pb.etcd.etcdserverpb import rpc_pb2 as pb
from tests.conformance.bad_input.questions import CRUSHING, Question, ask, questions
from tests.conformance.clusters import Cluster, EtcdCluster, OrreryCluster, missing_for_etcd, missing_for_orrery
from tests.conformance.etcdctl.play import closing

QUESTIONS = list(questions())

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def by_etcd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    if reason := missing_for_etcd():
        pytest.skip(reason)
    with closing(EtcdCluster(tmp_path_factory.mktemp("etcd"))) as cluster:
        return ask(cluster.client_addresses[0], QUESTIONS)


@pytest.fixture(scope="module")
def by_orrery(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    if reason := missing_for_orrery():
        pytest.skip(reason)
    with closing(OrreryCluster(tmp_path_factory.mktemp("orrery"))) as cluster:
        return ask(cluster.client_addresses[0], QUESTIONS)


@pytest.mark.parametrize("name", [question.name for question in QUESTIONS])
def test_orrery_answers_as_etcd_does(name: str, by_etcd: dict[str, str], by_orrery: dict[str, str]) -> None:
    assert by_orrery[name] == by_etcd[name]


def test_etcd_answers_as_etcd_does(by_etcd: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """The questions are deterministic, and may be asked of any member."""
    with closing(EtcdCluster(tmp_path_factory.mktemp("another"))) as cluster:
        again = ask(cluster.client_addresses[2], QUESTIONS)
    assert again == by_etcd


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("put: empty key", "INVALID_ARGUMENT: etcdserver: key is not provided"),
        ("size: too much", "INVALID_ARGUMENT: etcdserver: request is too large"),
        ("txn: too many operations", "INVALID_ARGUMENT: etcdserver: too many operations in txn request"),
        ("txn: one key put twice", "INVALID_ARGUMENT: etcdserver: duplicate key given in txn request"),
        ("compacted: range", "OUT_OF_RANGE: etcdserver: mvcc: required revision has been compacted"),
        ("range: future revision", "OUT_OF_RANGE: etcdserver: mvcc: required revision is a future revision"),
        ("put: unknown lease", "NOT_FOUND: etcdserver: requested lease not found"),
        ("lease: granted again", "FAILED_PRECONDITION: etcdserver: lease already exists"),
        ("lease: too much time", "OUT_OF_RANGE: etcdserver: too large lease TTL"),
        ("put: keeping the value of a missing key", "INVALID_ARGUMENT: etcdserver: key not found"),
    ],
)
def test_the_oracle_says_what_is_written_down(name: str, answer: str, by_etcd: dict[str, str]) -> None:
    """The questions reach what they mean to reach: these answers are known from etcd's own documents."""
    assert by_etcd[name] == answer


@pytest.mark.parametrize("question", CRUSHING, ids=lambda question: question.name)
def test_what_etcd_may_not_survive(question: Question, orrery: Cluster) -> None:
    """etcd 3.4's process died when it was asked these together, seen for the sort target (a nil sorter) and not
    separately for the order; so they are asked of Orrery alone, which refuses them and goes on.
    """
    address = orrery.client_addresses[0]
    still = Question("still there", "KV.Range", pb.RangeRequest(key=b"still-there"))
    answers = ask(address, [question, still])
    assert answers[question.name].startswith("INVALID_ARGUMENT: ")
    assert "header" in answers[still.name]


def test_a_list_of_alarms_has_a_header(orrery: Cluster) -> None:
    """etcd 3.4 leaves the header out, 3.5 and later fill it, and their clients read it. Here the later one is right."""
    listed = ask(orrery.client_addresses[0], [Question("alarms", "Maintenance.Alarm", pb.AlarmRequest())])["alarms"]
    assert listed.startswith("header {\n  revision: ")
    assert "alarms {" not in listed
