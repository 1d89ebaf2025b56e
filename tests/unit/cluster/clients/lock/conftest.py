from tests.unit.services.lock.running import bare, service, two

__all__ = ["bare", "service", "two"]
