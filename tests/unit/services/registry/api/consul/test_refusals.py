import pytest

from services.registry.api.consul.refusals import NO_LEADER, refusal
from services.registry.interface import Exists, Invalid, NotFound, RegistryError, Unavailable, WrongKind


@pytest.mark.parametrize(
    ("error", "status"),
    [(Invalid("tags: bad"), 400), (Exists("taken"), 400), (WrongKind("no ttl"), 400), (NotFound("gone"), 404)],
)
def test_what_a_client_did_wrong_is_told_as_it_is(error: RegistryError, status: int) -> None:
    assert (refusal(error).status, refusal(error).message) == (status, str(error))


def test_only_a_write_that_did_not_happen_is_told_in_consuls_words_for_that() -> None:
    assert refusal(Unavailable("away", definite=True)).message == NO_LEADER
    indefinite = refusal(Unavailable("lost", definite=False))
    assert (indefinite.status, NO_LEADER in indefinite.message) == (500, False)
    assert "may or may not have happened" in indefinite.message
