import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.rpc.transcoding.template import TemplateError, parse_template

Matched = list[tuple[tuple[str, ...], str]] | None


@pytest.mark.parametrize(
    ("template", "path", "matched"),
    [
        ("/v1/a", "/v1/a", []),
        ("/v1/a", "/v1/b", None),
        ("/v1/a", "/v1/a/", None),
        ("/v1/a", "v1/a", None),
        ("/v1/%61", "/v1/a", None),
        ("/v1/a", "/v1/%61", []),
        ("/v1/{id}", "/v1/x", [(("id",), "x")]),
        ("/v1/{id}", "/v1/", None),
        ("/v1/{id}", "/v1/x/y", None),
        ("/v1/{id}", "/v1/x%2Fy%20z", [(("id",), "x/y z")]),
        ("/v1/{a.b.c}", "/v1/x", [(("a", "b", "c"), "x")]),
        ("/v1/{name=shelves/*}", "/v1/shelves/1", [(("name",), "shelves/1")]),
        ("/v1/{name=shelves/*}/books", "/v1/shelves/1/books", [(("name",), "shelves/1")]),
        ("/v1/{name=shelves/*}", "/v1/racks/1", None),
        ("/v1/{name=shelves/*}", "/v1/shelves/a%2Fb%20c", [(("name",), "shelves/a%2Fb c")]),
        ("/v1/{name=**}", "/v1/a/b%20c/d%2fe", [(("name",), "a/b c/d%2fe")]),
        ("/v1/{name=**}", "/v1", [(("name",), "")]),
        ("/v1/**", "/v1/a/b", []),
        ("/v1/*/c", "/v1/b/c", []),
        ("/v1/{a}/{b=x/**}", "/v1/1/x/2/3", [(("a",), "1"), (("b",), "x/2/3")]),
        ("/v1/{id}:cancel", "/v1/x:cancel", [(("id",), "x")]),
        ("/v1/{id}:cancel", "/v1/x:stop", None),
        ("/v1/{id}:cancel", "/v1/:cancel", None),
        ("/v1/{id}", "/v1/x:cancel", [(("id",), "x:cancel")]),
        ("/v1/{name=**}:cancel", "/v1/a/b:cancel", [(("name",), "a/b")]),
    ],
)
def test_what_matches_and_what_it_binds(template: str, path: str, matched: Matched) -> None:
    assert parse_template(template).match(path) == matched


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("", "begins with a slash"),
        ("v1", "begins with a slash"),
        ("/", "a segment is missing"),
        ("/v1//a", "a segment is missing"),
        ("/v1/{", "a field path is missing"),
        ("/v1/{a", "ends with }"),
        ("/v1/{a=}", "a segment is missing"),
        ("/v1/{a={b}}", "a variable inside a variable"),
        ("/v1/**/a", r"\*\* must be the last"),
        ("/v1/{a}/{a}", "bound twice"),
        ("/v1/a:", "a verb is missing"),
        ("/v1/a:b/c", "unexpected text"),
        ("/v1/{a}b", "unexpected text"),
    ],
)
def test_what_the_grammar_forbids(template: str, why: str) -> None:
    with pytest.raises(TemplateError, match=why):
        parse_template(template)


def test_special_templates_rank_before_general_ones() -> None:
    texts = ["/v1/**", "/v1/{a}/{b}", "/v1/x/{b}", "/v1/{a}/{b}:verb", "/v1/x/y"]
    ranked = sorted((parse_template(text) for text in texts), key=lambda template: template.rank)
    assert [template.text for template in ranked] == [
        "/v1/x/y",
        "/v1/x/{b}",
        "/v1/{a}/{b}:verb",
        "/v1/{a}/{b}",
        "/v1/**",
    ]


@given(st.text(alphabet="/{}*=:.ab%", max_size=30))
def test_any_text_is_a_template_or_an_error_of_its_own(text: str) -> None:
    try:
        template = parse_template(text)
    except TemplateError:
        return
    assert template.match("/") is None or template.segments


@given(st.text(max_size=40))
def test_any_path_can_be_tried(path: str) -> None:
    for text in ("/v1/{name=a/*}", "/{name=**}", "/{id}:verb"):
        parse_template(text).match(path)
