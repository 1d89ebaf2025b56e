"""The options, as [checks] of the configuration gives them."""

import pytest

from services.registry.checks import CheckOptions
from services.registry.config import ChecksSection


def test_the_defaults_are_those_of_the_checks() -> None:
    assert ChecksSection().options() == CheckOptions()


def test_networks_are_read_and_nonsense_is_refused() -> None:
    options = ChecksSection(networks_denied=("10.0.0.0/8", "::1/128")).options()
    assert [str(network) for network in options.networks_denied] == ["10.0.0.0/8", "::1/128"]
    with pytest.raises(ValueError, match="10"):
        ChecksSection(networks_denied=("10.0.0.1/8",)).options()
    with pytest.raises(ValueError, match="damping"):
        ChecksSection(flap_half_life_ms=3_600_000).options()
