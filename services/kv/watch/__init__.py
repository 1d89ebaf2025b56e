"""Watching keys: who is interested in what, and bringing it to them."""
