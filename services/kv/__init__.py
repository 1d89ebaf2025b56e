"""The kv service: the etcd v3 API on a replicated store of revisions."""
