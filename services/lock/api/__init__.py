"""The protocol heads of the lock service."""
