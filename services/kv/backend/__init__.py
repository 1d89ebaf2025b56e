"""kv's state on a disk: the engine under the store, and what is kept beside the records."""
