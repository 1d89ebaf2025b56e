"""The map of pages against a model, and there and back through its pages."""

import errno

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from storage.btree.page import decode_head
from storage.btree.space import FREE, USED, SpaceMap, decode_bits, decode_index, state_of

PAGE = 4096
RESERVED = 2


class SpaceMachine(RuleBasedStateMachine):
    """Takes, frees and releases pages; each commit writes the map, and what it wrote is read back."""

    def __init__(self) -> None:
        super().__init__()
        self.space = SpaceMap(PAGE, RESERVED)
        self.used: dict[int, int] = {}
        self.held: dict[int, int] = {}
        """Pages that were freed, and by which commit: they must not be taken before that is released."""
        self.file: dict[int, bytes] = {}
        self.commit = 2

    @rule(count=st.integers(1, 5), times=st.integers(1, 8))
    def allocate(self, count: int, times: int) -> None:
        for _ in range(times):
            page = self.space.allocate(count)
            taken = set(range(page, page + count))
            assert page >= RESERVED
            assert not taken & {each for first, size in self.used.items() for each in range(first, first + size)}
            assert not taken & self.held.keys()
            self.used[page] = count

    @precondition(lambda self: self.used)
    @rule(which=st.integers(0, 1000))
    def free(self, which: int) -> None:
        page = sorted(self.used)[which % len(self.used)]
        count = self.used.pop(page)
        self.space.free(page, count)
        self.held |= dict.fromkeys(range(page, page + count), self.commit)

    @rule(behind=st.integers(0, 4))
    def end_commit(self, behind: int) -> None:
        before = bytes(self.space.state)
        pages, index, checksum = self.space.encode(self.commit)
        # What the map itself gave up is held like everything else.
        for page, (old, new) in enumerate(zip(before, self.space.state, strict=False)):
            if old == USED and new != USED:
                self.held[page] = self.commit
        for page, data in pages:
            assert page not in self.held
            self.file[page] = data
        head = decode_head(self.file[index], index, PAGE)
        assert head.checksum == checksum
        chunks = decode_index(head, self.file[index], self.space.chunk_pages, len(self.space.state))
        bits = []
        for number, (page, chunk_checksum) in enumerate(chunks):
            head = decode_head(self.file[page], page, PAGE)
            assert head.checksum == chunk_checksum
            bits.append(decode_bits(head, self.file[page], number, self.space.chunk_pages))
        state = state_of(bits, self.space.chunk_pages, len(self.space.state))
        assert [each != USED for each in state] == [each != USED for each in self.space.state]
        self.space.end_commit(self.commit)
        self.space.release(self.commit - behind)
        self.held = {page: commit for page, commit in self.held.items() if commit > self.commit - behind}
        self.commit += 1

    @invariant()
    def counts(self) -> None:
        assert self.space.free_pages == self.space.state.count(FREE)
        assert self.space.waiting_pages == len(self.held)


TestSpace = SpaceMachine.TestCase
TestSpace.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_map_of_many_pages_writes_only_what_changed() -> None:
    space = SpaceMap(PAGE, RESERVED)
    space.allocate(10 * space.chunk_pages)
    pages, _index, _checksum = space.encode(2)
    assert len(pages) == 11 + 1
    space.end_commit(2)
    space.allocate(1)
    # The one at the end for what was taken, the one at the front for nothing.
    pages, _index, _checksum = space.encode(3)
    assert len(pages) <= 3


def test_a_file_has_an_end() -> None:
    space = SpaceMap(PAGE, RESERVED)
    with pytest.raises(OSError, match="at its largest") as caught:
        space.allocate(space.pages_max)
    assert caught.value.errno == errno.ENOSPC


def test_what_the_commit_before_still_needs_waits_after_an_opening() -> None:
    space = SpaceMap(PAGE, RESERVED)
    state = bytearray(b"\0\0\1\1\0\1")
    space.load(4, [(0, 0)], state)
    space.keep(bytearray(b"\0\0\1\0\0"), 9)
    assert (space.free_pages, space.waiting_pages) == (2, 1)
    assert {space.allocate(), space.allocate()} == {2, 5}
    assert space.allocate() == 6
    space.release(9)
    assert space.allocate() == 3
