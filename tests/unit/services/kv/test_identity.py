import pytest

from services.kv.identity import cluster_id, identify, member_id, parse_members


def test_ids_depend_on_token_and_name_alone() -> None:
    one = identify("t", "a", ["a=h:1", "b=h:2"])
    other = identify("t", "a", ["b=x:9", "a=y:8"])
    assert one.member.id == other.member.id == member_id("t", "a")
    assert one.cluster_id == other.cluster_id == cluster_id("t")
    assert [member.id for member in one.members] == sorted(member.id for member in other.members)
    assert len({member_id("t", "a"), member_id("u", "a"), member_id("t", "b"), cluster_id("t")}) == 4
    assert one.by_id(one.member.id) is one.member
    assert one.by_id(7) is None


@pytest.mark.parametrize("entry", ["", "a", "a=", "a=h", "a=h:", "a=:1", "=h:1", "a=h:x", "a=h:0", "a=h:65536"])
def test_bad_entries_are_named(entry: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        parse_members("t", [entry])


def test_a_node_must_be_a_member() -> None:
    with pytest.raises(ValueError, match="names this node"):
        identify("t", "c", ["a=h:1"])
    assert identify("t", "c", ["c=[::1]:2380"]).member.peer_url == "http://[::1]:2380"
