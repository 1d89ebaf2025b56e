"""Keeping the time of leases, which is the leader's business."""
