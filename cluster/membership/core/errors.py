"""What the core refuses."""


class Malformed(ValueError):
    """The bytes are no message: the remote side's fault, or the wire's. They are dropped whole; nothing has changed."""


class MetadataTooLarge(ValueError):
    """The caller's metadata exceed `SwimConfig.metadata_bytes_max`. Nothing has changed."""
