"""The replicated state machine that services use."""
