"""What a leader tracks of its followers."""
