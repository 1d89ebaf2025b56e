import pytest

from runtime import DirectoryInUse
from runtime.real import RealDisk
from services.kv.data_directory import FILE, WrongDataDirectory, claim
from services.kv.identity import identify

MEMBERS = ["a=h:1", "b=h:2"]


async def test_it_stays_with_its_first_owner(tmp_path: object) -> None:
    owner = identify("t", "a", MEMBERS)
    disk = RealDisk(str(tmp_path))
    await claim(disk, owner)
    with pytest.raises(DirectoryInUse):
        await claim(RealDisk(str(tmp_path)), owner)
    disk.close()
    # Other addresses, and more members, are no other owner.
    again = RealDisk(str(tmp_path))
    await claim(again, identify("t", "a", ["a=x:9", *MEMBERS[1:], "c=h:3"]))
    again.close()
    for other in (identify("t", "b", MEMBERS), identify("u", "a", MEMBERS)):
        stranger = RealDisk(str(tmp_path))
        with pytest.raises(WrongDataDirectory, match="belongs to member a"):
            await claim(stranger, other)
        stranger.close()


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 2, "cluster_id": "", "member_id": "", "node": ""}'])
async def test_what_cannot_be_read_is_not_overwritten(tmp_path: object, content: bytes) -> None:
    disk = RealDisk(str(tmp_path))
    file = await disk.open(FILE, create=True)
    await file.pwrite([content], 0, sync=True)
    await file.close()
    with pytest.raises(WrongDataDirectory):
        await claim(disk, identify("t", "a", MEMBERS))
    assert await disk.read(FILE) == content
    disk.close()
