"""What the codec raises, and nothing else."""

from services.registry.dns.codes import RCODE_FORMERR


class Malformed(Exception):
    """A message that cannot be read. `rcode` is what its sender is told."""

    def __init__(self, reason: str, rcode: int = RCODE_FORMERR) -> None:
        super().__init__(reason)
        self.rcode = rcode


class Unanswerable(Exception):
    """A message that gets no answer at all: it is a response itself, or too short to have an id.

    Answering a response would let two servers talk to each other for ever.
    """
