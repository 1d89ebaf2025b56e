"""How the driver fails. Every one of these ends the host; none is to be retried in the same process."""


class ReplicaCorrupted(Exception):
    """What this replica once made durable cannot be read back, so it may neither vote nor serve.

    A vote or an acknowledgement may be among what was lost, and a replica that forgot one could let two leaders be
    elected in a term. A host that may rebuild moves what is damaged aside and gets it back from the other members
    (cluster.raft.core.recovering); this error ends one that may not: where the group cannot do without this member, or
    where too many damaged logs are kept already.
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
