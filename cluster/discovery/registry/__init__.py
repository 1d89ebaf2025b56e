"""Endpoints as the registry knows them."""

from cluster.discovery.registry.source import RegistrySource
from cluster.discovery.registry.view import View, ViewBroken

__all__ = ["RegistrySource", "View", "ViewBroken"]
