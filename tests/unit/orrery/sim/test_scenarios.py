from orrery.sim.scenarios import SCENARIOS, setting


def test_every_name_has_its_scenario() -> None:
    for name in SCENARIOS:
        assert "confirm_reads" in setting(name).safeguards
