"""The Raft core: messages, ticks and proposals in; a `Ready` out. No I/O."""
