"""Filter expressions (`?filter=`), in the language of Consul (go-bexpr).

    Service.Meta.zone == "eu" and "v2" in Service.Tags and not (Service.Port == 80 or Node.Meta is empty)

Comparisons are `==`, `!=`, `in`, `not in`, `contains`, `not contains`, `is empty`, `is not empty`; they are joined by
`and`, `or`, `not` and parentheses. What can be selected is what stands in the answer itself, apart from lists of
objects. A name that is not there is refused; a key that a map does not have equals nothing.

`matches` is refused: Consul runs it on a regular-expression engine whose time is linear, Python's takes exponential
time on some expressions, and one request could stop the process.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from services.registry.api.consul.fields import Json
from services.registry.api.consul.refusals import Refused

CHARACTERS_MAX = 2048
DEPTH_MAX = 32
"""Of parentheses and of `not`."""
COMPARISONS_MAX = 64


class Kind(Enum):
    """What a name selects."""

    TEXT = "string"
    NUMBER = "int"
    FLAG = "bool"
    TEXTS = "list of strings"
    MAP = "map of strings"


Schema: TypeAlias = "Mapping[str, Kind | Schema]"
Predicate: TypeAlias = Callable[[Mapping[str, Json]], bool]

_NODE: Final[Schema] = {
    "ID": Kind.TEXT,
    "Node": Kind.TEXT,
    "Address": Kind.TEXT,
    "Datacenter": Kind.TEXT,
    "TaggedAddresses": Kind.MAP,
    "Meta": Kind.MAP,
}
_WEIGHTS: Final[Schema] = {"Passing": Kind.NUMBER, "Warning": Kind.NUMBER}
_SERVICE: Final[Schema] = {
    "ID": Kind.TEXT,
    "Service": Kind.TEXT,
    "Tags": Kind.TEXTS,
    "Address": Kind.TEXT,
    "Meta": Kind.MAP,
    "Port": Kind.NUMBER,
    "Weights": _WEIGHTS,
    "EnableTagOverride": Kind.FLAG,
}


class Shape(Enum):
    """What is filtered; the names are those of the answer."""

    NODE = "node"
    SERVICE = "service"
    AGENT_SERVICE = "agent service"
    SERVICE_NODE = "service node"
    ENDPOINT = "endpoint"
    CHECK = "check"


_SCHEMAS: Final[Mapping[Shape, Schema]] = {
    Shape.NODE: _NODE,
    Shape.SERVICE: _SERVICE,
    Shape.AGENT_SERVICE: {**_SERVICE, "Datacenter": Kind.TEXT},
    Shape.SERVICE_NODE: {
        "ID": Kind.TEXT,
        "Node": Kind.TEXT,
        "Address": Kind.TEXT,
        "Datacenter": Kind.TEXT,
        "TaggedAddresses": Kind.MAP,
        "NodeMeta": Kind.MAP,
        "ServiceKind": Kind.TEXT,
        "ServiceID": Kind.TEXT,
        "ServiceName": Kind.TEXT,
        "ServiceTags": Kind.TEXTS,
        "ServiceAddress": Kind.TEXT,
        "ServiceWeights": _WEIGHTS,
        "ServiceMeta": Kind.MAP,
        "ServicePort": Kind.NUMBER,
        "ServiceEnableTagOverride": Kind.FLAG,
    },
    Shape.ENDPOINT: {"Node": _NODE, "Service": _SERVICE},
    Shape.CHECK: {
        "Node": Kind.TEXT,
        "CheckID": Kind.TEXT,
        "Name": Kind.TEXT,
        "Status": Kind.TEXT,
        "Notes": Kind.TEXT,
        "Output": Kind.TEXT,
        "ServiceID": Kind.TEXT,
        "ServiceName": Kind.TEXT,
        "ServiceTags": Kind.TEXTS,
        "Type": Kind.TEXT,
        "Interval": Kind.TEXT,
        "Timeout": Kind.TEXT,
    },
}


def compile_filter(text: str, shape: Shape) -> Predicate | None:
    """What decides whether one item stays; None when there is no filter. Raises Refused (400)."""
    if not text.strip():
        return None
    if len(text) > CHARACTERS_MAX:
        raise _failed(f"the expression is longer than {CHARACTERS_MAX} characters")
    return _compile(text, shape)


@lru_cache(maxsize=256)
def _compile(text: str, shape: Shape) -> Predicate:
    return _Parser(_tokens(text), _SCHEMAS[shape]).parse()


def _failed(why: str) -> Refused:
    return Refused(400, f"Failed to create boolean expression evaluator: {why}")


class _Token(NamedTuple):
    kind: str
    """`quoted`, `word`, or the sign itself."""
    text: str
    place: int


_PATTERN = re.compile(
    r"""\s*(?:
        (?P<sign> == | != | \( | \) )
      | "(?P<quoted> (?: [^"\\] | \\. )* )"
      | `(?P<raw> [^`]* )`
      | (?P<word> [A-Za-z0-9_\-+./:@]+ (?: \["[^"\\]*"\] [A-Za-z0-9_\-./:]* )* )
    )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        found = _PATTERN.match(text, place)
        if found is None:
            raise _failed(f"cannot read it from character {place + 1} on")
        place = found.end() - len(found[0].lstrip())
        if found["sign"] is not None:
            tokens.append(_Token(found["sign"], found["sign"], place))
        elif found["quoted"] is not None:
            value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), found["quoted"])
            tokens.append(_Token("quoted", value, place))
        elif found["raw"] is not None:
            tokens.append(_Token("quoted", found["raw"], place))
        else:
            tokens.append(_Token("word", found["word"], place))
        place = found.end()
    return tokens


class _Parser:
    """Recursive descent; `or` binds weakest, then `and`, then `not`."""

    def __init__(self, tokens: Sequence[_Token], schema: Schema) -> None:
        self._tokens = tokens
        self._schema = schema
        self._next = 0
        self._comparisons = 0

    def parse(self) -> Predicate:
        predicate = self._either(0)
        if self._next < len(self._tokens):
            raise self._unexpected()
        return predicate

    def _either(self, depth: int) -> Predicate:
        choices = [self._both(depth)]
        while self._take("or"):
            choices.append(self._both(depth))
        return choices[0] if len(choices) == 1 else lambda item: any(choice(item) for choice in choices)

    def _both(self, depth: int) -> Predicate:
        terms = [self._term(depth)]
        while self._take("and"):
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else lambda item: all(term(item) for term in terms)

    def _term(self, depth: int) -> Predicate:
        if depth > DEPTH_MAX:
            raise _failed(f"nested deeper than {DEPTH_MAX}")
        if self._take("not"):
            inner = self._term(depth + 1)
            return lambda item: not inner(item)
        if self._take("("):
            predicate = self._either(depth + 1)
            if not self._take(")"):
                raise self._unexpected()
            return predicate
        self._comparisons += 1
        if self._comparisons > COMPARISONS_MAX:
            raise _failed(f"more than {COMPARISONS_MAX} comparisons")
        return self._comparison()

    def _comparison(self) -> Predicate:
        first = self._value()
        if self._take("in"):
            return self._contains(self._value(), first.text)
        if self._take("not", "in"):
            return _negated(self._contains(self._value(), first.text))
        if self._take("contains"):
            return self._contains(first, self._value().text)
        if self._take("not", "contains"):
            return _negated(self._contains(first, self._value().text))
        if self._take("is", "empty"):
            return self._empty(first)
        if self._take("is", "not", "empty"):
            return _negated(self._empty(first))
        if self._take("=="):
            return self._equal(first, self._value().text)
        if self._take("!="):
            return _negated(self._equal(first, self._value().text))
        if self._take("matches") or self._take("not", "matches"):
            raise _failed('"matches" is not served here; see docs/consul.md')
        raise self._unexpected()

    def _equal(self, selector: _Token, text: str) -> Predicate:
        path, kind = self._select(selector)
        match kind:
            case Kind.TEXT:
                return lambda item: _get(item, path) == text
            case Kind.NUMBER:
                try:
                    number = int(text[:20])
                except ValueError:
                    raise _failed(f"{text!r} is no number") from None
                return lambda item: _get(item, path) == number
            case Kind.FLAG:
                if text not in ("true", "false"):
                    raise _failed(f"{text!r} is neither true nor false")
                flag = text == "true"
                return lambda item: _get(item, path) is flag
            case _:
                raise _failed(f'invalid match operator "Equal" for selector {selector.text!r}')

    def _contains(self, selector: _Token, text: str) -> Predicate:
        path, kind = self._select(selector)
        if kind in (Kind.NUMBER, Kind.FLAG):
            raise _failed(f'invalid match operator "In" for selector {selector.text!r}')

        def contains(item: Mapping[str, Json]) -> bool:
            value = _get(item, path)
            return isinstance(value, str | list | dict) and text in value

        return contains

    def _empty(self, selector: _Token) -> Predicate:
        path, kind = self._select(selector)
        if kind in (Kind.NUMBER, Kind.FLAG):
            raise _failed(f'invalid match operator "Is Empty" for selector {selector.text!r}')
        return lambda item: not _get(item, path)

    def _select(self, token: _Token) -> tuple[tuple[str, ...], Kind]:
        path = _path(token)
        at: Kind | Schema | None = self._schema
        for depth, name in enumerate(path):
            if isinstance(at, Kind):
                if at is Kind.MAP and depth == len(path) - 1:
                    return path, Kind.TEXT
                at = None
            elif at is not None:
                at = at.get(name)
            if at is None:
                raise _failed(f"Selector {token.text!r} is not valid")
        if not isinstance(at, Kind):
            raise _failed(f"Selector {token.text!r} is not valid")
        return path, at

    def _value(self) -> _Token:
        if self._next < len(self._tokens) and self._tokens[self._next].kind in ("word", "quoted"):
            self._next += 1
            return self._tokens[self._next - 1]
        raise self._unexpected()

    def _take(self, *words: str) -> bool:
        """Takes these words or signs, if all of them come next."""
        following = self._tokens[self._next : self._next + len(words)]
        if len(following) < len(words):
            return False
        if any(token.kind == "quoted" or token.text != word for token, word in zip(following, words, strict=True)):
            return False
        self._next += len(words)
        return True

    def _unexpected(self) -> Refused:
        if self._next >= len(self._tokens):
            return _failed("it ends too early")
        token = self._tokens[self._next]
        return _failed(f"{token.text!r} was not expected at character {token.place + 1}")


def _path(token: _Token) -> tuple[str, ...]:
    """`Service.Meta.zone`, `Service.Meta["my zone"]`, or as a JSON pointer `"/Service/Meta/my zone"`."""
    if token.kind == "quoted":
        if not token.text.startswith("/"):
            raise _failed(f"Selector {token.text!r} is not valid")
        parts = token.text[1:].split("/")
        return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)
    return tuple(found[1] or found[2] for found in re.finditer(r'([^.\[\]"]+)|\["([^"]*)"\]', token.text))


def _negated(predicate: Predicate) -> Predicate:
    return lambda item: not predicate(item)


def _get(item: Mapping[str, Json], path: Sequence[str]) -> Json:
    value: Json = None
    for name in path:
        value = item.get(name)
        if isinstance(value, dict):
            item = value
    return value
