"""How hypothesis plays, for all tests: as long as it takes. What a busy machine does slowly is no error."""

from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
