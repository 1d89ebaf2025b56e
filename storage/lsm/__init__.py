"""The log-structured merge engine."""
