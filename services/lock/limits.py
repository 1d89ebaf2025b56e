"""What the service accepts. One that asks for more is told which limit it met."""

NAME_BYTES_MAX = 512
"""Of a lock's or an election's name, in UTF-8."""
TTL_S_MIN = 1
TTL_S_MAX = 3600
"""Of a session. kv makes a short one longer, so that it outlives a change of its leader; the answer tells."""
LOCK_DELAY_S_MAX = 60
"""As in Consul."""
OWNER_BYTES_MAX = 256
CAMPAIGN_VALUE_BYTES_MAX = 64 * 1024
WAIT_MS_MAX = 30 * 24 * 3600 * 1000
HOLD_MS_MAX = 30 * 24 * 3600 * 1000
HOLDS_PER_SESSION_MAX = 1024
"""Grants and waits of a session, together."""
HOLDS_PER_KEY_MAX = 64
"""How deep a lock can be entered by one session."""
QUEUE_MAX = 10_000
"""Keys below a lock's name that are read; the configured limit of waiters is lower."""
ANSWERS_WAITING_MAX = 512
"""Answers that a client may leave unread before no more of its requests are read."""
WHO_BYTES_MAX = 256
WHY_BYTES_MAX = 1024
AUDIT_RECORDS_MAX = 10_000
"""Records of forced releases that are kept; the oldest go first."""
AUDIT_PAGE_MAX = 1000
LIST_PAGE_MAX = 10_000
"""Keys that one page of a list looks at."""
RECORD_BYTES_MAX = 4096
"""Of the value of a lock's key; a longer one is not ours."""
CAS_ATTEMPTS_MAX = 8
"""Attempts to change a key that changes at the same time."""
