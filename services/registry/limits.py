"""What a registration may be at most. Everything that comes from outside is held to it before it is kept."""

SERVICE_BYTES_MAX = 63
"""A DNS label (RFC 1035 2.3.4)."""
ID_BYTES_MAX = 255
NODE_BYTES_MAX = 253
"""A DNS name."""
ADDRESS_BYTES_MAX = 253
TAGS_MAX = 64
TAG_BYTES_MAX = 255
METADATA_MAX = 64
METADATA_KEY_BYTES_MAX = 128
METADATA_VALUE_BYTES_MAX = 512
"""Of metadata: Consul's own limits."""
WEIGHT_MAX = 65_535
"""An SRV record has no room for more (RFC 2782)."""
PORT_MAX = 65_535

CHECKS_MAX = 16
"""Of one instance: with all that goes with them they fit a transaction of kv."""
NAME_BYTES_MAX = 255
NOTES_BYTES_MAX = 1024
TTL_MS_MIN = 1
TTL_MS_MAX = 24 * 3600 * 1000
INTERVAL_MS_MIN = 100
INTERVAL_MS_MAX = 24 * 3600 * 1000
TIMEOUT_MS_MAX = 10 * 60 * 1000
TARGET_BYTES_MAX = 2048
METHOD_BYTES_MAX = 32
HEADERS_MAX = 32
HEADER_NAME_BYTES_MAX = 128
HEADER_VALUE_BYTES_MAX = 4096
BODY_BYTES_MAX = 8192
THRESHOLD_MAX = 100
DEREGISTER_AFTER_MS_MIN = 1000
DEREGISTER_AFTER_MS_MAX = 30 * 24 * 3600 * 1000
OUTPUT_BYTES_MAX = 4096
"""Longer output is cut."""

BEATS_MAX = 4096
"""Of one request."""
WAIT_MS_DEFAULT = 5 * 60 * 1000
WAIT_MS_MAX = 10 * 60 * 1000
"""Of a blocking query, as in Consul."""
RECORD_BYTES_MAX = 256 * 1024
"""Of a value in kv: the largest that a registration can come to, with room. A larger one is not ours."""
