"""The heads of the registry: one file or folder a protocol."""
