"""The masks hide what they name, and nothing beside it."""

from tests.conformance.etcdctl.masks import Names, mask, members

NAMES = Names({0x1F00000000000002: "member kv-1", 0x694D000000000001: "lease1"}, {"127.0.0.1:12000": "client kv-1"})


def shown(text: str, *optional: str, order: str = "") -> str:
    return mask(text, NAMES, list(optional), order)


def test_an_id_is_named_in_every_form_that_etcdctl_prints() -> None:
    assert shown("lease 694d000000000001 granted") == "lease <lease1> granted"
    assert shown(f'"lease":{0x694D000000000001}}}') == '"lease":<lease1>}'
    assert shown("m/694d000000000001\n") == "m/<lease1>\n"


def test_an_unknown_id_is_not_hidden() -> None:
    assert shown("lease 694d000000000009 granted") == "lease 694d000000000009 granted"


def test_an_address_is_named_but_its_scheme_is_compared() -> None:
    assert shown("http://127.0.0.1:12000, 127.0.0.1:120001") == "http://<client kv-1>, 127.0.0.1:120001"


def test_revisions_are_never_hidden() -> None:
    text = f'{{"cluster_id":7,"member_id":{0x1F00000000000002},"revision":12,"raft_term":3}}'
    assert shown(text) == '{"cluster_id":7,"member_id":<member>,"revision":12,"raft_term":<term>}'


def test_optional_masks_work_only_where_they_are_named() -> None:
    assert shown("remaining(12s)") == "remaining(12s)"
    assert shown("remaining(12s)", "remaining") == "remaining(<time>)"
    assert shown("took = 1.5ms", "took") == "took = <time>"


def test_the_leader_column_survives_the_status_mask() -> None:
    row = "127.0.0.1:12000, 1f00000000000002, 3.4.23, 25 kB, true, false, 2, 9, 8, \n"
    assert shown(row, "address", "status") == (
        "<client>, <member>, <version>, <size>, true, false, <term>, <index>, <index>, \n"
    )


def test_members_are_put_in_order_and_kept_whole() -> None:
    listing = '{"header":{},"members":[{"ID":2,"name":"b","peerURLs":["x"]},{"ID":1,"name":"a","peerURLs":["y"]}]}\n'
    assert shown(listing, order="members") == (
        '{"header":{},"members":[{"ID":1,"name":"a","peerURLs":["y"]},{"ID":2,"name":"b","peerURLs":["x"]}]}\n'
    )


def test_members_are_read_by_name() -> None:
    listing = '{"header":{"cluster_id":7},"members":[{"ID":2,"name":"kv-1"},{"ID":1,"name":"kv-2"}]}'
    assert members(listing) == (7, {"kv-1": 2, "kv-2": 1})


def test_member_blocks_are_put_in_order_after_the_header() -> None:
    listing = '"ClusterID" : 7\n"ID" : 2\n"Name" : "b"\n\n"ID" : 1\n"Name" : "a"\n\n'
    assert shown(listing, order="blocks") == '"ClusterID" : 7\n"ID" : 1\n"Name" : "a"\n\n"ID" : 2\n"Name" : "b"\n\n'
