from orrery.sim.scenarios import SCENARIOS, setting


def test_every_name_has_its_scenario() -> None:
    for name in SCENARIOS:
        wanted = "fencing" if name.startswith("lock") else "confirm_reads"
        assert wanted in setting(name).safeguards
