"""The registry as a process uses it that makes itself known there."""

from cluster.clients.registry.calls import RegistryCalls
from cluster.clients.registry.errors import RegistryError, RegistryRefused, RegistryUnavailable, RegistryUnknown
from cluster.clients.registry.registration import Condition, Registration, Service, Timing

__all__ = [
    "Condition",
    "Registration",
    "RegistryCalls",
    "RegistryError",
    "RegistryRefused",
    "RegistryUnavailable",
    "RegistryUnknown",
    "Service",
    "Timing",
]
