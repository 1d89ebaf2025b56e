from services.registry.api.consul.answers import EncodedAnswers


def test_encoded_once_for_an_index() -> None:
    answers, made = EncodedAnswers(), []

    def make() -> bytes:
        made.append(1)
        return b"%d" % len(made)

    assert [answers.get("a", 5, make), answers.get("a", 5, make), answers.get("b", 5, make)] == [b"1", b"1", b"2"]
    assert answers.get("a", 6, make) == b"3"
    assert answers.get("a", 5, make) == b"4"
    assert len(answers) == 2


def test_the_least_recently_used_go() -> None:
    answers = EncodedAnswers(entries_max=2)
    for key in ("a", "b", "a", "c"):
        answers.get(key, 1, lambda: b"x")
    assert answers.get("a", 1, lambda: b"new") == b"x"
    assert answers.get("b", 1, lambda: b"new") == b"new"


def test_bytes_are_limited() -> None:
    answers = EncodedAnswers(bytes_max=10)
    answers.get("large", 1, lambda: b"x" * 11)
    assert len(answers) == 0
    for key in range(5):
        answers.get(key, 1, lambda: b"x" * 4)
    assert len(answers) == 2
    for index in range(2, 9):  # what is replaced is not counted twice
        answers.get(4, index, lambda: b"x" * 4)
    assert len(answers) == 2
