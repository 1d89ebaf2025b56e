"""Who gets the next call. Pure: no I/O, no clock; randomness is handed in."""

from cluster.discovery.balancers.balancer import Balancer, Target
from cluster.discovery.balancers.least_request import LeastRequest
from cluster.discovery.balancers.ring_hash import RingHash
from cluster.discovery.balancers.round_robin import RoundRobin

__all__ = ["Balancer", "LeastRequest", "RingHash", "RoundRobin", "Target"]
