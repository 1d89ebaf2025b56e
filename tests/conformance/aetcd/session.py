"""What a program does with aetcd, run by that client's own environment: `session.py HOST:PORT`.

Every function whose name begins with `check_` is one check on keys of its own. Prints one JSON object: the name of
each check, and "ok" or what went wrong.
"""

import asyncio
import json
import sys
import traceback

import aetcd


async def check_put_and_get(client):
    first = await client.put(b"get/a", b"1")
    second = await client.put(b"get/a", b"2", prev_kv=True)
    assert second.header.revision == first.header.revision + 1
    assert second.prev_kv.value == b"1"
    found = await client.get(b"get/a")
    assert (found.key, found.value, found.version) == (b"get/a", b"2", 2)
    assert found.create_revision == first.header.revision
    assert found.mod_revision == second.header.revision
    assert await client.get(b"get/none") is None
    assert (await client.get(b"get/a", serializable=True)).key == b"get/a"


async def check_ranges(client):
    for number, value in enumerate((b"c", b"a", b"b")):
        await client.put(b"range/%d" % number, value)
    prefix = await client.get_prefix(b"range/")
    assert [kv.key for kv in prefix] == [b"range/0", b"range/1", b"range/2"]
    descending = await client.get_prefix(b"range/", sort_order="descend", sort_target="value")
    assert [kv.value for kv in descending] == [b"c", b"b", b"a"]
    half_open = await client.get_range(b"range/0", b"range/2")
    assert [kv.key for kv in half_open] == [b"range/0", b"range/1"]
    keys = await client.get_prefix(b"range/", keys_only=True)
    assert [kv.value for kv in keys] == [b"", b"", b""]
    everything = await client.get_all()
    assert {b"range/0", b"range/1", b"range/2"} <= {kv.key for kv in everything}


async def check_delete(client):
    for number in range(4):
        await client.put(b"delete/%d" % number, b"x")
    one = await client.delete(b"delete/0", prev_kv=True)
    assert one.prev_kv.value == b"x"
    assert await client.get(b"delete/0") is None
    some = await client.delete_range(b"delete/1", b"delete/3")
    assert some.deleted == 2
    rest = await client.delete_prefix(b"delete/")
    assert rest.deleted == 1


async def check_replace(client):
    await client.put(b"replace/a", b"old")
    assert await client.replace(b"replace/a", b"old", b"new")
    assert not await client.replace(b"replace/a", b"old", b"newer")
    assert (await client.get(b"replace/a")).value == b"new"


async def check_transaction(client):
    txn = client.transactions
    await client.put(b"txn/a", b"1")
    succeeded, answers = await client.transaction(
        compare=[txn.value(b"txn/a") == b"1", txn.version(b"txn/a") > 0, txn.create(b"txn/b") == 0],
        success=[txn.put(b"txn/b", b"2"), txn.get(b"txn/b"), txn.delete(b"txn/a")],
        failure=[txn.get(b"txn/a")],
    )
    assert succeeded
    assert answers[1][0][0] == b"2"
    assert answers[2].response_delete_range.deleted == 1
    succeeded, answers = await client.transaction(
        compare=[txn.mod(b"txn/b") < 1],
        success=[],
        failure=[txn.get(b"txn/b")],
    )
    assert not succeeded
    assert answers[0][0][0] == b"2"


async def check_nested_transaction(client):
    txn = client.transactions
    succeeded, answers = await client.transaction(
        compare=[txn.version(b"nested/a") == 0],
        success=[
            txn.put(b"nested/a", b"1"),
            txn.txn(
                # All compares are judged before anything is applied, those of inner transactions included.
                compare=[txn.version(b"nested/a") == 0],
                success=[txn.put(b"nested/b", b"inner")],
                failure=[],
            ),
        ],
        failure=[],
    )
    assert succeeded
    assert answers[1].response_txn.succeeded
    assert (await client.get(b"nested/b")).value == b"inner"


async def check_lease(client):
    lease = await client.lease(60)
    assert lease.ttl == 60
    await client.put(b"lease/a", b"1", lease=lease)
    assert (await client.get(b"lease/a")).lease == lease.id
    assert await lease.granted_ttl() == 60
    assert 0 < await lease.remaining_ttl() <= 60
    assert list(await lease.keys()) == [b"lease/a"]
    assert (await lease.refresh()).TTL == 60
    await lease.revoke()
    assert await client.get(b"lease/a") is None
    # A lease that is gone answers with no time left, and with no error.
    assert (await lease.refresh()).TTL == 0
    assert await lease.remaining_ttl() == -1


async def check_lease_with_an_id_of_ones_own(client):
    lease = await client.lease(60, lease_id=4711)
    assert lease.id == 4711
    try:
        await client.lease(60, lease_id=4711)
    except aetcd.DuplicateLeaseError:
        pass
    else:
        raise AssertionError("the same lease was granted twice")
    finally:
        await lease.revoke()


async def check_watch(client):
    watch = await client.watch_prefix(b"watch/", prev_kv=True)
    await client.put(b"watch/a", b"1")
    await client.put(b"watch/a", b"2")
    await client.put(b"unwatched", b"1")
    await client.delete(b"watch/a")
    seen = []
    async for event in watch:
        seen.append(
            (aetcd.EventKind(event.kind).value, event.kv.key, event.kv.value, event.prev_kv and event.prev_kv.value)
        )
        if len(seen) == 3:
            await watch.cancel()
    assert [event[:3] for event in seen] == [
        ("PUT", b"watch/a", b"1"),
        ("PUT", b"watch/a", b"2"),
        ("DELETE", b"watch/a", b""),
    ], seen
    assert seen[2][3] == b"2"


async def check_watch_from_an_old_revision(client):
    first = await client.put(b"old/a", b"1")
    await client.put(b"old/a", b"2")
    watch = await client.watch(b"old/a", start_revision=first.header.revision)
    seen = []
    async for event in watch:
        seen.append(event.kv.value)
        if len(seen) == 2:
            await watch.cancel()
    assert seen == [b"1", b"2"]


async def check_watch_of_deletions_only(client):
    watch = await client.watch(b"only/a", kind=aetcd.EventKind.DELETE)
    await client.put(b"only/a", b"1")
    await client.delete(b"only/a")
    async for event in watch:
        assert event.kind == aetcd.EventKind.DELETE
        await watch.cancel()


async def check_many_watches_of_one_stream(client):
    watches = [await client.watch(b"many/%d" % number) for number in range(20)]
    for number in range(20):
        await client.put(b"many/%d" % number, b"%d" % number)
    for number, watch in enumerate(watches):
        async for event in watch:
            assert event.kv.value == b"%d" % number
            await watch.cancel()


async def check_lock(client):
    held = asyncio.Event()
    order = []

    async def second():
        await held.wait()
        async with client.lock(b"lock/a", ttl=30) as lock:
            assert await lock.is_acquired()
            order.append("second")

    waiting = asyncio.create_task(second())
    async with client.lock(b"lock/a", ttl=30) as lock:
        assert await lock.is_acquired()
        held.set()
        assert not await client.lock(b"lock/a", ttl=30).acquire(timeout=0)
        order.append("first")
    await asyncio.wait_for(waiting, 10)
    assert order == ["first", "second"]
    assert await client.get(b"lock/a") is None


async def check_compaction(client):
    first = await client.put(b"compact/a", b"1")
    await client.put(b"compact/a", b"2")
    last = await client.put(b"compact/a", b"3")
    await client.compact(last.header.revision)
    compacted = None
    try:
        async for _ in await client.watch(b"compact/a", start_revision=first.header.revision):
            raise AssertionError("an event from before the compaction")
    except aetcd.RevisionCompactedError as error:
        compacted = error.compacted_revision
    assert compacted == last.header.revision


async def check_the_cluster(client):
    status = await client.status()
    assert status.leader is not None
    assert status.raft_term >= 1
    members = [member async for member in client.members()]
    assert sorted(member.name for member in members) == ["kv-1", "kv-2", "kv-3"]
    assert status.leader.name in {"kv-1", "kv-2", "kv-3"}
    assert [alarm async for alarm in client.list_alarms()] == []


async def check_bad_input(client):
    said = ""
    try:
        await client.put(b"", b"x")
    except aetcd.ClientError as error:
        said = f"{type(error).__name__} {error} {error.__cause__}"
    assert "key is not provided" in said or "InvalidArgument" in said, said


async def main(address):
    host, port = address.rsplit(":", 1)
    results = {}
    async with aetcd.Client(host=host, port=int(port), timeout=10) as client:
        await client.delete_range(b"\0", b"\0")
        for name, check in list(globals().items()):
            if name.startswith("check_"):
                try:
                    await asyncio.wait_for(check(client), 20)
                    results[name] = "ok"
                except Exception:  # noqa: BLE001 - whatever goes wrong is the result
                    results[name] = traceback.format_exc(limit=-3)
    print(json.dumps(results))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
