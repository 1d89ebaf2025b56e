"""What a program does with etcd3gw, run by that client's own environment: `session.py HOST:PORT`.

Every function whose name begins with `check_` is one check on keys of its own. Prints one JSON object: the name of
each check, and "ok" or what went wrong.
"""

import json
import sys
import threading
import traceback

import etcd3gw
from etcd3gw import exceptions


def check_finds_its_api_by_the_version(client):
    assert client.api_path == "/v3/"


def check_put_and_get(client):
    client.delete("gw/a")
    assert client.put("gw/a", "1")
    assert client.put("gw/a", b"\x00\xff")
    assert client.get("gw/a") == [b"\x00\xff"]
    ((value, metadata),) = client.get("gw/a", metadata=True)
    assert value == b"\x00\xff"
    assert metadata["version"] == "2"
    assert int(metadata["mod_revision"]) > int(metadata["create_revision"])
    assert client.get("gw/none") == []


def check_prefixes(client):
    for number in range(3):
        client.put(f"gw/p/{number}", str(number))
    found = client.get_prefix("gw/p/", sort_order="descend", sort_target="key")
    assert [value for value, _ in found] == [b"2", b"1", b"0"]
    assert client.delete_prefix("gw/p/")
    assert client.get_prefix("gw/p/") == []


def check_delete(client):
    client.put("gw/d", "x")
    assert client.delete("gw/d") is True
    assert client.delete("gw/d") is False


def check_create_and_replace(client):
    client.delete("gw/c")
    assert client.create("gw/c", "1") is True
    assert client.create("gw/c", "2") is False
    assert client.replace("gw/c", "1", "3") is True
    assert client.replace("gw/c", "1", "4") is False
    assert client.get("gw/c") == [b"3"]


def check_transactions(client):
    txn = {
        "compare": [],
        "success": [{"request_put": {"key": "Z3cvdA==", "value": "MQ=="}}, {"request_range": {"key": "Z3cvdA=="}}],
        "failure": [],
    }
    result = client.transaction(txn)
    assert result["succeeded"] is True
    assert result["responses"][1]["response_range"]["kvs"][0]["value"] == "MQ=="


def check_leases(client):
    lease = client.lease(ttl=60)
    client.put("gw/l", "x", lease=lease)
    assert lease.keys() == [b"gw/l"]
    assert 0 < lease.ttl() <= 60
    assert lease.refresh() == 60
    assert lease.revoke() is True
    assert client.get("gw/l") == []


def check_locks(client):
    first, second = client.lock("gw-lock", ttl=60), client.lock("gw-lock", ttl=60)
    assert first.acquire() is True
    assert second.acquire() is False
    assert first.is_acquired()
    assert first.refresh() == 60
    assert first.release() is True
    assert second.acquire() is True
    assert second.release() is True


def check_watches(client):
    iterator, cancel = client.watch_prefix("gw/w/")
    for number in range(5):
        client.put(f"gw/w/{number}", str(number))
    client.delete("gw/w/0")
    events = [next(iterator) for _ in range(6)]
    cancel()
    assert [event["kv"]["key"] for event in events] == [
        b"gw/w/0",
        b"gw/w/1",
        b"gw/w/2",
        b"gw/w/3",
        b"gw/w/4",
        b"gw/w/0",
    ]
    assert [event["kv"].get("value") for event in events[:5]] == [b"0", b"1", b"2", b"3", b"4"]
    assert events[5]["type"] == "DELETE"


def check_watch_once(client):
    timer = threading.Timer(0.3, client.put, ("gw/o", "1"))
    timer.start()
    event = client.watch_once("gw/o", timeout=10)
    timer.join()
    assert event["kv"]["value"] == b"1"


def check_what_the_members_say(client):
    assert client.status()["header"]["member_id"]
    assert len(client.members()) == 3


def check_errors(client):
    refusal = None
    try:
        client.post(client.get_url("/kv/put"), json={})
    except exceptions.Etcd3Exception as error:
        refusal = error
    assert refusal is not None
    assert "key is not provided" in refusal.detail_text


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    results = {}
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            try:
                check(etcd3gw.client(host=host, port=int(port), timeout=20))
                results[name] = "ok"
            except Exception:  # noqa: BLE001 (whatever it is, it goes into the report)
                results[name] = traceback.format_exc(limit=-3)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
