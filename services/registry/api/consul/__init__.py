"""Consul's HTTP API, as far as its clients need it to register, to report, and to find."""

from services.registry.api.consul.head import ConsulHead, ConsulSettings

__all__ = ["ConsulHead", "ConsulSettings"]
