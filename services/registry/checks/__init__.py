"""Checks: who looks after which, how it is asked, and when what it says counts."""
