"""The log loses nothing that it acknowledged, whatever the disk may do within its promises.

Method: a seeded script of appends, lazy appends, drops and reopenings runs on a SimDisk that loses power at one chosen
operation. After the crash the log is reopened (possibly under a further crash), and what it gives must be a prefix of
what was appended, hold everything acknowledged, and never be called corrupted. Flipped bits must give the same or
WalCorrupted. One test switches the sync off and shows that these checks notice.
"""

import asyncio
import errno
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import Disk, SyncFailed
from runtime.failpoints import arm, disarm_all
from runtime.sim import SeededRandomness, SimDisk
from storage.wal import Wal, WalCorrupted, WalFull
from storage.wal.pace import BYTES_MAX, STALL_S, TRIAL_SYNCS
from storage.wal.segment import LOG_ID_BYTES, SegmentHeader, encode_frame
from storage.wal.wal import AFTER_WRITE


class StillClock:
    def wall_s(self) -> float:
        return 0.0

    def monotonic_s(self) -> float:
        return 0.0


async def open_wal(
    disk: Disk, *, sync_enabled: bool = True, segment_bytes_max: int = 4096
) -> tuple[Wal, dict[int, bytes]]:
    wal, recovered = await Wal.open(
        disk,
        "raft/wal",
        random=SeededRandomness(random.Random(7)),
        clock=StillClock(),
        segment_bytes_max=segment_bytes_max,
        record_bytes_max=1 << 16,
        sync_enabled=sync_enabled,
    )
    return wal, {lsn: payload async for lsn, payload in recovered}


@dataclass
class Story:
    """What a script did, as far as its caller knows."""

    appended: dict[int, bytes] = field(default_factory=dict)
    acknowledged: int = 0
    drop: int = 0

    def check(self, first_lsn: int, found: dict[int, bytes]) -> None:
        last = max(found, default=first_lsn - 1)
        assert list(found) == list(range(first_lsn, last + 1)), "no gaps"
        assert first_lsn <= max(1, self.drop), "nothing beyond the drop point is gone"
        assert last >= self.acknowledged, "what was acknowledged is there"
        for lsn, payload in found.items():
            assert self.appended[lsn] == payload


async def script(disk: SimDisk, story: Story, seed: int, steps: int, *, sync_enabled: bool = True) -> None:
    """Ends early by an OSError when the disk fails."""
    source = random.Random(seed)
    wal, found = await open_wal(disk, sync_enabled=sync_enabled)
    story.check(wal.first_lsn, found)
    # What was recovered is promised from now on, and what was not never happened.
    story.acknowledged = wal.next_lsn - 1
    story.appended = {lsn: payload for lsn, payload in story.appended.items() if lsn < wal.next_lsn}
    waiting: list[asyncio.Future[int]] = []
    for _ in range(steps):
        records = [
            source.randbytes(source.choice((0, 1, 9, 100, 600, 1500))) if source.random() < 0.8 else bytes(700)
            for _ in range(source.randrange(1, 4))
        ]
        sync = source.random() < 0.7
        for number, record in enumerate(records):
            story.appended[wal.next_lsn + number] = record
        wal.pace.is_quick = source.random() < 0.5
        if sync and wal.append_now(records):
            story.acknowledged = wal.next_lsn - 1
            continue
        future = wal.append(records, sync=sync)
        if sync:
            waiting.append(future)
        if source.random() < 0.5:
            for future in waiting:
                story.acknowledged = max(story.acknowledged, await future)
            waiting.clear()
        if source.random() < 0.1:
            story.drop = max(story.drop, source.randrange(1, wal.next_lsn))
            await wal.drop_before(story.drop)
        if source.random() < 0.08:
            await wal.close()
            story.acknowledged = wal.next_lsn - 1
            wal, found = await open_wal(disk, sync_enabled=sync_enabled)
            story.check(wal.first_lsn, found)
            waiting.clear()
    await wal.close()
    story.acknowledged = wal.next_lsn - 1


async def run_until_power_loss(seed: int, lost_at: int, lost_again_at: int, *, sync_enabled: bool = True) -> bool:
    """One life, a crash, a second life that may crash too, and a last look. False when the power was never lost."""
    disk = SimDisk(random.Random(seed * 7919 + lost_at))
    story = Story()
    lost = False
    for life, limit in enumerate((lost_at, lost_again_at)):
        disk.power_lost_at = disk.operations + limit
        try:
            await script(disk, story, seed + life, 12, sync_enabled=sync_enabled)
        except OSError:
            lost = True
        disk.crash()
    wal, found = await open_wal(disk)
    story.check(wal.first_lsn, found)
    await wal.close()
    return lost


async def test_appends_come_back_and_share_syncs() -> None:
    disk = SimDisk(random.Random(1))
    wal, found = await open_wal(disk)
    assert found == {}
    lsns = await asyncio.gather(*(wal.append([b"%d" % number, b"x"]) for number in range(50)))
    assert lsns == list(range(2, 101, 2))
    assert wal.statistics.syncs <= 2
    assert wal.first_lsn == 1
    assert wal.next_lsn == 101
    await wal.close()
    with pytest.raises(RuntimeError):
        wal.append([b"late"])
    wal, found = await open_wal(disk)
    assert [found[lsn] for lsn in range(1, 101, 2)] == [b"%d" % number for number in range(50)]
    await wal.close()


async def test_lazy_records_go_with_the_next_sync_or_by_themselves() -> None:
    wal, _ = await open_wal(SimDisk(random.Random(1)))
    lazy = wal.append([b"lazy"], sync=False)
    assert await wal.append([b"synced"]) == 2
    assert lazy.done()
    assert wal.statistics.writes == 1
    assert await wal.append([b"alone"], sync=False) == 3
    assert wal.statistics.syncs == 1
    assert await wal.append([]) == 3
    assert wal.statistics.syncs == 2
    await wal.close()


async def test_limits_refuse_before_anything_is_taken() -> None:
    wal, recovered = await Wal.open(
        SimDisk(random.Random(1)), "w", random=SeededRandomness(random.Random(1)), clock=StillClock(),
        record_bytes_max=100, pending_bytes_max=150,
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="not read"):
        wal.append([b"early"])
    await recovered.drain()
    with pytest.raises(ValueError, match="101 bytes"):
        wal.append([bytes(101)])
    first = wal.append([bytes(100)])
    with pytest.raises(WalFull):
        wal.append([bytes(100)])
    assert await first == 1
    assert await wal.append([bytes(100)]) == 2
    await wal.close()


async def test_drop_removes_whole_old_segments_only() -> None:
    disk = SimDisk(random.Random(1))
    wal, _ = await open_wal(disk)
    for _ in range(20):
        await wal.append([bytes(1000)])
    assert wal.statistics.segments_created == 6
    total = wal.bytes_total
    await wal.drop_before(8)
    assert wal.first_lsn == 7
    assert wal.bytes_total < total
    await wal.drop_before(1000)
    assert len(await disk.list("raft/wal")) == 1
    await wal.close()
    wal, found = await open_wal(disk)
    assert max(found) == 20
    assert wal.first_lsn == min(found)
    await wal.close()


async def test_a_failed_sync_poisons_for_good() -> None:
    disk = SimDisk(random.Random(3))
    wal, _ = await open_wal(disk)
    assert await wal.append([b"safe"]) == 1
    disk.fail_syncs = 1
    outcomes = await asyncio.gather(*(wal.append([b"lost"]) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(outcome, SyncFailed) for outcome in outcomes)
    with pytest.raises(SyncFailed):
        wal.append([b"after"])
    with pytest.raises(SyncFailed):
        await wal.close()
    disk.crash()
    wal, found = await open_wal(disk)
    assert found[1] == b"safe"
    await wal.close()


async def test_a_full_disk_keeps_what_was_acknowledged() -> None:
    for capacity in range(400, 6000, 97):
        disk = SimDisk(random.Random(capacity), capacity_bytes=capacity)
        story = Story()
        with pytest.raises(OSError):
            await script(disk, story, capacity, 50)
        disk.crash()
        disk.capacity_bytes = None
        wal, found = await open_wal(disk)
        story.check(wal.first_lsn, found)
        await wal.close()


async def test_power_loss_at_every_operation() -> None:
    for seed in range(3):
        lost_at = 1
        while await run_until_power_loss(seed, lost_at, 1 + (lost_at * 13) % 40):
            lost_at += 1
            if lost_at > 90:
                break
        assert lost_at > 40


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 1 << 32), st.integers(1, 90), st.integers(1, 90))
async def test_power_loss_by_seed(seed: int, lost_at: int, lost_again_at: int) -> None:
    await run_until_power_loss(seed, lost_at, lost_again_at)


async def test_the_checks_notice_a_log_that_does_not_sync() -> None:
    caught = 0
    for seed in range(20):
        try:
            await run_until_power_loss(seed, 30, 30, sync_enabled=False)
        except (AssertionError, WalCorrupted):
            caught += 1
    assert caught > 0


async def closed_log(seed: int) -> tuple[SimDisk, Story]:
    disk, story = SimDisk(random.Random(seed)), Story()
    await script(disk, story, seed, 10)
    return disk, story


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 20), st.data())
async def test_a_flipped_bit_is_harmless_or_found(seed: int, data: st.DataObject) -> None:
    disk, story = await closed_log(seed)
    name = data.draw(st.sampled_from(await disk.list("raft/wal")))
    path = f"raft/wal/{name}"
    disk.flip_bit(path, data.draw(st.integers(0, len(disk.content(path)) * 8 - 1)))
    try:
        wal, found = await open_wal(disk)
    except WalCorrupted:
        return
    story.check(wal.first_lsn, found)
    await wal.close()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 20), st.data())
async def test_any_prefix_of_the_last_segment_gives_a_prefix(seed: int, data: st.DataObject) -> None:
    disk, story = await closed_log(seed)
    path = f"raft/wal/{(await disk.list('raft/wal'))[-1]}"
    content = disk.content(path)
    disk.put(path, content[: data.draw(st.integers(0, len(content)))])
    story.acknowledged = 0
    wal, found = await open_wal(disk)
    story.check(wal.first_lsn, found)
    assert await wal.append([b"goes on"]) == wal.next_lsn - 1
    await wal.close()


async def test_damage_before_a_later_sync_is_corruption_even_when_it_looks_torn() -> None:
    disk = SimDisk(random.Random(1))
    wal, _ = await open_wal(disk, segment_bytes_max=1 << 20)
    for _ in range(5):
        await wal.append([b"\xaa" * 1500])
    await wal.close()
    path = f"raft/wal/{(await disk.list('raft/wal'))[-1]}"
    content = bytearray(disk.content(path))
    content[512:1024] = bytes(512)
    disk.put(path, bytes(content))
    with pytest.raises(WalCorrupted, match="proves") as caught:
        await open_wal(disk)
    assert caught.value.offset == 64
    assert caught.value.file == path


async def test_a_missing_a_foreign_and_a_misnamed_segment_are_refused() -> None:
    disk = SimDisk(random.Random(1))
    wal, _ = await open_wal(disk)
    for _ in range(12):
        await wal.append([bytes(1000)])
    await wal.close()
    names = await disk.list("raft/wal")
    middle = f"raft/wal/{names[1]}"
    content = disk.content(middle)
    await disk.remove(middle)
    with pytest.raises(WalCorrupted, match="missing"):
        await open_wal(disk)
    disk.put(middle, SegmentHeader(bytes(LOG_ID_BYTES), int(names[1][:-4])).encode())
    with pytest.raises(WalCorrupted, match="another log"):
        await open_wal(disk)
    disk.put(middle, SegmentHeader(bytes(LOG_ID_BYTES), 3).encode() + content[64:])
    with pytest.raises(WalCorrupted, match="name"):
        await open_wal(disk)


HEADER = SegmentHeader(bytes(range(LOG_ID_BYTES)), 1)
FRAME = b"".join(encode_frame(HEADER, 64, 1, 64, [b"one", b"two"]))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=700),
            st.sampled_from([HEADER.encode(), FRAME, FRAME[:41], b"\xf5WAL", bytes(512), b"\xa5" * 9]),
        ),
        max_size=6,
    ),
    st.booleans(),
)
async def test_arbitrary_bytes_never_confuse_the_parser(pieces: list[bytes], with_header: bool) -> None:
    disk = SimDisk(random.Random(1))
    content = (HEADER.encode() if with_header else b"") + b"".join(pieces)
    disk.put("raft/wal/00000000000000000001.wal", content)
    try:
        wal, found = await open_wal(disk)
    except WalCorrupted:
        return
    assert list(found.values()) in ([], [b"one", b"two"])
    await wal.close()


async def test_a_quick_disk_is_written_to_on_the_spot_once_the_log_has_seen_that_it_is() -> None:
    disk = SimDisk(random.Random(1))
    wal, _ = await open_wal(disk)
    for number in range(TRIAL_SYNCS):
        assert not wal.append_now([b"early"])
        await wal.append([b"%d" % number])
    syncs = disk.syncs
    assert wal.append_now([b"now", b"and this"])
    assert disk.syncs == syncs + 1
    assert wal.statistics.syncs == TRIAL_SYNCS + 1
    assert not wal.append_now([bytes(BYTES_MAX)]), "long records are for the thread"
    assert not wal.append_now([b"x" * 4096]), "so are new segments"
    lazy = wal.append([b"lazy"], sync=False)
    assert not wal.append_now([b"behind it"]), "the order of calls is the order of the log"
    await lazy
    disk.sync_latency_s = STALL_S
    assert wal.append_now([b"slow"])
    assert not wal.append_now([b"not again"])
    disk.crash()
    _, found = await open_wal(disk)
    early = [b"%d" % number for number in range(TRIAL_SYNCS)]
    assert list(found.values()) == [*early, b"now", b"and this", b"lazy", b"slow"]


async def test_a_failure_on_the_spot_poisons_the_log() -> None:
    for fault in ("fail_syncs", "fail_writes"):
        disk = SimDisk(random.Random(1))
        wal, _ = await open_wal(disk)
        await wal.append([b"kept"])
        wal.pace.is_quick = True
        setattr(disk, fault, 1)
        with pytest.raises(SyncFailed):
            wal.append_now([b"x"])
        with pytest.raises(SyncFailed):
            wal.append_now([b"y"])
        with pytest.raises(SyncFailed):
            wal.append([b"z"])
        with pytest.raises(SyncFailed):
            await wal.close()


async def test_an_error_at_a_failpoint_is_told_to_every_waiter() -> None:
    disk = SimDisk(random.Random(1))
    wal, _ = await open_wal(disk)
    arm(AFTER_WRITE, raise_eio, first=1)
    try:
        with pytest.raises(SyncFailed):
            await wal.append([b"x"])
        assert wal.failure is not None
    finally:
        disarm_all()


def raise_eio() -> None:
    raise OSError(errno.EIO, "failpoint")


async def test_a_writer_that_is_cancelled_before_it_began_is_told_to_all_who_wait() -> None:
    wal, _ = await open_wal(SimDisk(random.Random(1)))
    waiting = wal.append([b"x"])
    (flusher,) = [task for task in asyncio.all_tasks() if task.get_name() == "wal-flush"]
    flusher.cancel()
    with pytest.raises(SyncFailed):
        await waiting
    with pytest.raises(SyncFailed):
        await wal.close()
