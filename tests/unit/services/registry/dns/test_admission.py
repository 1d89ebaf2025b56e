"""Who is answered."""

import pytest

from services.registry.dns.admission import REMEMBERED_MAX, Admission
from services.registry.dns.config import DnsSection


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", True),
        ("10.9.8.7", True),
        ("172.31.0.1", True),
        ("172.32.0.1", False),
        ("8.8.8.8", False),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("fd00::1", True),
        ("2001:db8::1", False),
        ("::ffff:10.0.0.1", True),
        ("::ffff:8.8.8.8", False),
        ("not an address", False),
    ],
)
def test_private_networks_by_default(host: str, allowed: bool) -> None:
    admission = Admission(DnsSection().allowed_networks())
    assert admission.allows(host) is allowed
    assert admission.allows(host) is allowed


def test_forged_senders_fill_no_memory() -> None:
    admission = Admission(DnsSection(allow_from=("10.0.0.0/8",)).allowed_networks())
    for number in range(REMEMBERED_MAX + 10):
        assert admission.allows(f"10.0.{number >> 8}.{number & 255}")
    assert len(admission._verdicts) <= REMEMBERED_MAX
