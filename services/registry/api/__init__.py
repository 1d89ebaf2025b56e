"""The heads: one protocol a file or a package."""
