"""The service registry: which services there are, where their instances are, and whether they are well."""
