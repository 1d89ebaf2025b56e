"""Header blocks: HPACK (RFC 7541) decoded with a cache, encoded without state.

The tables and the Huffman code are the `hpack` library's. The decoding loop is ours for two reasons: a header list
that is too long must not desynchronise the table (the library stops in the middle, so the connection must end), and
it is three times as fast.

A decoded block may be taken from the cache exactly when decoding it again would give the same fields and leave the
table alone. Decoding is a function of the block and the dynamic table; so an entry is stored only when its decoding
did not touch the table, and every entry is dropped as soon as the table changes. That holds for every peer, whatever
it indexes and whenever it reads our settings; see docs/decisions/0005-rpc-engine.md for what was rejected.
"""

from functools import lru_cache

from hpack.exceptions import HPACKError, InvalidTableIndex
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from cluster.rpc.http2.errors import ErrorCode, RemoteFault

Field = tuple[bytes, bytes]

TABLE_BYTES_MAX = 4096
"""The dynamic table that we let peers use: the protocol's default, so no settings need to be waited for."""
ENTRY_OVERHEAD_BYTES = 32
"""What RFC 9113 section 10.5.1 adds for each field."""
INTEGER_BYTES_MAX = 5
"""Continuation bytes of an HPACK integer; more could only be an attack."""


class HeaderBlock:
    """A decoded header block. Blocks that repeat on a connection are one object, so what is derived is derived once."""

    __slots__ = ("content_length", "fields", "memo", "oversize", "valid_as")

    def __init__(self, fields: tuple[Field, ...], *, oversize: bool = False) -> None:
        self.fields = fields
        self.oversize = oversize
        """Whether the list was longer than allowed; `fields` is then cut short."""
        self.valid_as = 0
        """Which rules this block is known to keep: a bit set of `validation` kinds."""
        self.content_length: int | None = None
        """The content-length field, once validated."""
        self.memo: object | None = None
        """For the layer above, which may keep here what it read out of the fields."""

    def __repr__(self) -> str:
        return f"HeaderBlock({self.fields!r})"


class OpenBlock:
    """A header block whose CONTINUATION frames are still to come."""

    __slots__ = ("bytes", "ends", "frames", "parts", "self_dependent", "stream_id")

    def __init__(self, stream_id: int, first: bytes, *, ends: bool, self_dependent: bool) -> None:
        self.stream_id = stream_id
        self.parts = [first]
        self.bytes = len(first)
        self.frames = 0
        self.ends = ends
        self.self_dependent = self_dependent


class _WatchedTable(HeaderTable):
    """The library's table, which counts its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.generation = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.generation += 1
        super().add(name, value)

    def resize(self, size: int) -> None:
        if size != self.maxsize:
            self.generation += 1
            self.maxsize = size


@lru_cache(maxsize=4096)
def _short_huffman(encoded: bytes) -> bytes:
    return _huffman(encoded)


def _huffman(encoded: bytes) -> bytes:
    return bytes(decode_huffman(encoded))


SHORT_HUFFMAN_BYTES = 64
"""Encoded strings up to this length are remembered by the process: timeouts, paths and tokens come again."""


class HeaderDecoder:
    """Decodes the header blocks of one direction of one connection, in the order in which they came."""

    def __init__(self, list_bytes_max: int, cache_bytes_max: int) -> None:
        self._table = _WatchedTable()
        self._list_bytes_max = list_bytes_max
        self._cache_bytes_max = cache_bytes_max
        self.cache: dict[bytes, HeaderBlock] = {}
        """Blocks whose decoding would give this again, and leave the table alone."""
        self._cache_bytes = 0

    def decode(self, block: bytes) -> HeaderBlock:
        """The block's fields. Raises RemoteFault (COMPRESSION_ERROR) on bytes that are not HPACK."""
        known = self.cache.get(block)
        if known is not None:
            return known
        generation = self._table.generation
        try:
            decoded, size = self._decode(block)
        except (HPACKError, IndexError) as error:
            raise RemoteFault(ErrorCode.COMPRESSION_ERROR, f"header block: {error}") from None
        if self._table.generation != generation:
            self.cache.clear()
            self._cache_bytes = 0
        elif not decoded.oversize:
            self._remember(block, decoded, size)
        return decoded

    def _remember(self, block: bytes, decoded: HeaderBlock, size: int) -> None:
        cost = 2 * (len(block) + size)
        if cost > self._cache_bytes_max // 4:
            return
        if self._cache_bytes + cost > self._cache_bytes_max:
            # Dropping all is O(1) amortised, and a peer whose blocks never repeat gains nothing from better manners.
            self.cache.clear()
            self._cache_bytes = 0
        self.cache[block] = decoded
        self._cache_bytes += cost

    def _decode(self, block: bytes) -> tuple[HeaderBlock, int]:
        table = self._table
        fields: list[Field] = []
        size = 0
        at = 0
        end = len(block)
        while at < end:
            first = block[at]
            if first & 0x80:  # Indexed field (section 6.1).
                index = first & 0x7F
                at += 1
                if index == 0x7F:
                    index, at = _long_integer(block, at, 0x7F)
                field = table.get_by_index(index)
            elif first & 0x60 == 0x20:  # Table size update (section 6.3).
                if fields or size:
                    raise RemoteFault(ErrorCode.COMPRESSION_ERROR, "table size update after the first field")
                limit = first & 0x1F
                at += 1
                if limit == 0x1F:
                    limit, at = _long_integer(block, at, 0x1F)
                if limit > TABLE_BYTES_MAX:
                    raise RemoteFault(ErrorCode.COMPRESSION_ERROR, f"table size {limit} above {TABLE_BYTES_MAX}")
                table.resize(limit)
                continue
            else:  # Literal field, indexed or not (sections 6.2.1 to 6.2.3).
                mask = 0x3F if first & 0x40 else 0x0F
                index = first & mask
                at += 1
                if index == mask:
                    index, at = _long_integer(block, at, mask)
                if index:
                    name = table.get_by_index(index)[0]
                else:
                    name, at = _string(block, at)
                value, at = _string(block, at)
                field = (name, value)
                if mask == 0x3F:
                    table.add(name, value)
            size += len(field[0]) + len(field[1]) + ENTRY_OVERHEAD_BYTES
            # Past the limit the fields are dropped, but the table must still follow the peer's.
            if size <= self._list_bytes_max:
                fields.append(field)
        return HeaderBlock(tuple(fields), oversize=size > self._list_bytes_max), size


def _long_integer(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """The rest of an integer whose prefix was full (section 5.1), and the position behind it."""
    value = prefix
    shift = 0
    for _ in range(INTEGER_BYTES_MAX):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
    raise InvalidTableIndex("an integer that is too long")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """A string literal (section 5.2), and the position behind it."""
    first = block[at]
    length = first & 0x7F
    at += 1
    if length == 0x7F:
        length, at = _long_integer(block, at, 0x7F)
    stop = at + length
    if stop > len(block):
        raise InvalidTableIndex("a string longer than its block")
    raw = block[at:stop]
    if first & 0x80:
        raw = _short_huffman(raw) if length <= SHORT_HUFFMAN_BYTES else _huffman(raw)
    return raw, stop


TABLE_SIZE_ZERO = b"\x20"
"""Starts the first block that we send on a connection: our encoder keeps no table, and says so once. A peer that
lowers its table size may insist on hearing it (RFC 7541 section 4.2)."""

SENSITIVE = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"set-cookie", b"token"})
"""Fields that intermediaries are told never to index (RFC 7541 section 7.1.3)."""

_STATIC_FULL = {field: index for index, field in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))}
_STATIC_NAME = {field[0]: index for index, field in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))}


def encode_headers(fields: tuple[Field, ...] | list[Field]) -> bytes:
    """A header block that needs no dynamic table, so equal fields always give equal bytes: those can be kept."""
    return b"".join([_encode_cached(field) if len(field[1]) <= 128 else _encode(field) for field in fields])


def _encode(field: Field) -> bytes:
    name, value = field
    index = _STATIC_FULL.get(field)
    if index is not None:
        return bytes((0x80 | index,))
    pattern = 0x10 if name in SENSITIVE else 0x00
    index = _STATIC_NAME.get(name)
    head = _integer(index, 0x0F, pattern) if index is not None else bytes((pattern,)) + _literal(name)
    return head + _literal(value)


_encode_cached = lru_cache(maxsize=4096)(_encode)


def _literal(value: bytes) -> bytes:
    return _integer(len(value), 0x7F, 0) + value


def _integer(value: int, mask: int, pattern: int) -> bytes:
    if value < mask:
        return bytes((pattern | value,))
    out = bytearray((pattern | mask,))
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
