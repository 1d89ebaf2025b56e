"""Path templates of google.api.http: `/v1/{name=shelves/*}/books/{book}:publish`.

    Template = "/" Segments [ ":" Verb ]
    Segments = Segment { "/" Segment }
    Segment  = "*" | "**" | Literal | "{" FieldPath [ "=" Segments ] "}"

`*` is one segment, `**` is any number of them and comes last. Source: "Path template syntax" of google/api/http.proto.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

_FIELD_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_LITERAL = re.compile(r"[^/{}*=:]+")
_SLASH = re.compile(r"(%2[Ff])")

ANY_ONE = "*"
ANY_MANY = "**"


class TemplateError(ValueError):
    """A template that the grammar does not allow."""


@dataclass(frozen=True, slots=True)
class Variable:
    """The part of a path that goes into a field."""

    field_path: tuple[str, ...]
    start: int
    """Its first segment."""
    end: int | None
    """The segment behind its last one; None when it reaches to the end of the path."""
    is_multi: bool
    """Whether its pattern is more than `*`: then slashes divide it, and an escaped slash stays escaped."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    text: str
    segments: tuple[str, ...]
    """Literals, `*` and `**`."""
    verb: str
    variables: tuple[Variable, ...]

    @property
    def is_literal(self) -> bool:
        """Whether it matches one path only."""
        return ANY_ONE not in self.segments and ANY_MANY not in self.segments

    @property
    def rank(self) -> tuple[tuple[int, ...], bool]:
        """Sorts more special templates before those that match what they match, too."""
        kinds = {ANY_ONE: 1, ANY_MANY: 2}
        return (*(kinds.get(segment, 0) for segment in self.segments), 3), not self.verb

    def match(self, path: str) -> list[tuple[tuple[str, ...], str]] | None:
        """What a path, still percent-encoded, puts into which fields; None when the template does not match."""
        if path[:1] != "/":
            return None
        parts = path[1:].split("/")
        if self.verb:
            suffix = ":" + self.verb
            if not parts[-1].endswith(suffix):
                return None
            parts[-1] = parts[-1][: -len(suffix)]
        segments = self.segments
        if segments[-1] == ANY_MANY:
            if len(parts) < len(segments) - 1:
                return None
        elif len(parts) != len(segments):
            return None
        for segment, part in zip(segments, parts, strict=False):
            if segment == ANY_MANY:
                break
            if (not part) if segment == ANY_ONE else (unquote(part) != segment):
                return None
        return [(variable.field_path, _read(variable, parts)) for variable in self.variables]


def _read(variable: Variable, parts: Sequence[str]) -> str:
    text = "/".join(parts[variable.start : variable.end])
    if not variable.is_multi:
        return unquote(text)
    return "".join(piece if _SLASH.fullmatch(piece) else unquote(piece) for piece in _SLASH.split(text))


def parse_template(text: str) -> Template:
    """Parses a template. Raises TemplateError that says where it is wrong."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._segments: list[str] = []
        self._variables: list[Variable] = []

    def parse(self) -> Template:
        if not self._takes("/"):
            raise self._wrong("a template begins with a slash")
        self._read_segments(inside=False)
        verb = ""
        if self._takes(":"):
            verb = self._take(_LITERAL, "a verb")
        if self._at != len(self._text):
            raise self._wrong("unexpected text")
        if ANY_MANY in self._segments[:-1]:
            raise self._wrong("** must be the last segment")
        paths = [variable.field_path for variable in self._variables]
        if len(set(paths)) != len(paths):
            raise self._wrong("a field is bound twice")
        return Template(self._text, tuple(self._segments), verb, tuple(self._variables))

    def _read_segments(self, *, inside: bool) -> None:
        while True:
            if self._takes("**"):
                self._segments.append(ANY_MANY)
            elif self._takes("*"):
                self._segments.append(ANY_ONE)
            elif self._takes("{"):
                if inside:
                    raise self._wrong("a variable inside a variable")
                self._read_variable()
            else:
                self._segments.append(self._take(_LITERAL, "a segment"))
            if not self._takes("/"):
                return

    def _read_variable(self) -> None:
        field_path = tuple(self._take(_FIELD_PATH, "a field path").split("."))
        start = len(self._segments)
        if self._takes("="):
            self._read_segments(inside=True)
        else:
            self._segments.append(ANY_ONE)
        if not self._takes("}"):
            raise self._wrong("a variable ends with }")
        pattern = self._segments[start:]
        end = None if pattern[-1] == ANY_MANY else len(self._segments)
        self._variables.append(Variable(field_path, start, end, is_multi=pattern != [ANY_ONE]))

    def _takes(self, mark: str) -> bool:
        if self._text.startswith(mark, self._at):
            self._at += len(mark)
            return True
        return False

    def _take(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._wrong(f"{what} is missing")
        self._at = found.end()
        return found[0]

    def _wrong(self, why: str) -> TemplateError:
        return TemplateError(f"path template {self._text!r}, at {self._at}: {why}")
