"""Which scenario shows that a safeguard lacks, and a seed that does."""

from orrery.sim.safeguards import Proof

PROOFS = (
    Proof("vote_once_per_term", "kv-double-vote", 1),
    Proof("log_freshness", "kv-stale-candidate", 1),
    Proof("persist_before_reply", "kv-darkness", 1),
    Proof("commit_own_term_only", "kv-figure-8", 4),
    Proof("check_previous_entry", "kv-long-tail", 1),
    Proof("confirm_reads", "kv-deposed", 5),
    Proof("reads_wait_for_own_term", "kv-last-word", 1),
    Proof("recover_before_voting", "kv-wiped-voter", 1),
    Proof("session_dedupe", "kv-isolate-leader", 1),
    Proof("lease_guard", "kv-leases", 1),
    Proof("lease_clock", "kv-lease-clocks", 1),
)
