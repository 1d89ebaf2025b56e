"""What can be wrong with a log."""


class WalCorrupted(Exception):
    """Bytes that were once synced are damaged. The log must not be used; rebuild from the peers."""

    def __init__(self, file: str, offset: int, reason: str) -> None:
        super().__init__(f"{file} at byte {offset}: {reason}")
        self.file = file
        self.offset = offset
        self.reason = reason


class WalFull(Exception):
    """More bytes wait to be written than `pending_bytes_max` allows. Nothing of the refused append was taken."""
