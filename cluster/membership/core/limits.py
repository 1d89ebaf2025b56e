"""What the wire format bounds, whatever a member is told. A message beyond any of these is malformed."""

NAME_BYTES_MAX = 128
"""A member's name, in UTF-8. Only printable characters, no spaces at its ends."""
METADATA_BYTES_MAX = 512
UPDATE_BYTES_MAX = 2 + 1 + 9 + 9 + 2 * (1 + NAME_BYTES_MAX) + 8 + 1 + 16 + 2 + 2 + METADATA_BYTES_MAX
"""One update with everything at its longest."""
MESSAGE_BYTES_MAX = 1 + 4 + 8 + 8 + 2 * (1 + NAME_BYTES_MAX)
"""A message without its updates, at its longest."""
PACKET_BYTES_MIN = UPDATE_BYTES_MAX + MESSAGE_BYTES_MAX
"""A datagram must always have room for one update."""
PACKET_BYTES_MAX = 65_000
RECORDS_MAX = 10_000
"""Updates in one state exchange."""
STATE_BYTES_MAX = 8 << 20
"""A state exchange, in one frame."""
INCARNATION_MAX = 1 << 62
"""Incarnations count by one from 1; a larger number is a lie."""
