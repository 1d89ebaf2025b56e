from tests.unit.services.registry.running import bare, one, two

__all__ = ["bare", "one", "two"]
