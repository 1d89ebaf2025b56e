from orrery.sim.scenarios import SCENARIOS, setting

WANTED = {"lock": "fencing", "registry": "verifying"}
"""One of the safeguards, by the service that is played."""


def test_every_name_has_its_scenario() -> None:
    for name in SCENARIOS:
        wanted = WANTED.get(name.partition("-")[0], "confirm_reads")
        assert wanted in setting(name).safeguards
