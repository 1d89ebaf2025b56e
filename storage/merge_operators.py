"""The merge operators: changes of a value that need not read it first."""

_COUNT_MODULUS = 1 << 64


class Counter:
    """Adds: values and operands are signed 64-bit integers, little-endian, that wrap around.

    Bytes of another length count as the integer that their first eight, padded with zeros, make: an operator must
    never fail, since it runs long after the write was acknowledged.
    """

    name = "counter"

    def combine(self, operands: list[bytes]) -> bytes:
        """The sum."""
        total = sum(int.from_bytes(operand[:8], "little") for operand in operands)
        return (total % _COUNT_MODULUS).to_bytes(8, "little")

    @staticmethod
    def encode(count: int) -> bytes:
        """An operand that adds `count`. Raises OverflowError beyond 64 bits."""
        return count.to_bytes(8, "little", signed=True)

    @staticmethod
    def decode(value: bytes) -> int:
        """The count that a value holds."""
        return int.from_bytes(value[:8], "little", signed=True) if len(value) >= 8 else int.from_bytes(value, "little")


class Append:
    """Puts operands one behind another."""

    name = "append"

    def combine(self, operands: list[bytes]) -> bytes:
        """All of them, oldest first."""
        return b"".join(operands)
