"""How the driver fails. Every one of these ends the host; none is to be retried in the same process."""


class ReplicaCorrupted(Exception):
    """What this replica once made durable cannot be read back, so it may neither vote nor serve.

    A vote or an acknowledgement may be among what was lost, and a replica that forgot one could let two leaders be
    elected in a term. The group goes on without it while a majority of the others stands. Emptying the data directory
    and starting again under the same id is *not* safe, for the same reason: a member that comes back with nothing must
    come as a new one, by a change of the membership. Rebuilding from the peers by the replica itself comes later.
    """

    def __init__(self, file: str, offset: int, reason: str) -> None:
        super().__init__(f"{file}, offset {offset}: {reason}")
        self.file = file
        """The damaged file, relative to the disk's root."""
        self.offset = offset
        """Where in it the damage was found, in bytes."""
        self.reason = reason
        """What was wrong there."""


class HostStopped(Exception):
    """The host is stopped or has failed; it takes nothing more."""
