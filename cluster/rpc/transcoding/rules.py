"""HTTP rules: which method serves which HTTP request (google/api/http.proto, and AIP-127).

A path template is made of segments: a literal, `*` for one segment, `**` for the rest, and `{field=template}` for
segments that are put into a field of the request; a bare `{field}` is one segment. A verb may follow a colon.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor

TEMPLATE_CHARACTERS_MAX = 512
VARIABLES_MAX = 16

_TOKEN = re.compile(r"\{(?P<field>[\w.]+)(?:=(?P<inner>[^{}]+))?\}|(?P<rest>\*\*)|(?P<one>\*)|(?P<literal>[^{}*]+)")


@dataclass(frozen=True, slots=True)
class Binding:
    """One way to reach a method by HTTP."""

    verb: str
    """The HTTP method, e.g. `POST`."""
    template: str
    body: str = ""
    """The field that the body is; `*` for the whole request, empty for none."""
    response_body: str = ""
    """The field that is answered; empty for the whole response."""


@dataclass(frozen=True, slots=True)
class Route:
    """A binding, ready to be matched."""

    binding: Binding
    method: MethodDescriptor
    pattern: re.Pattern[str]
    fields: tuple[str, ...]
    """Field paths in the order of the pattern's groups."""

    def match(self, verb: str, path: str) -> dict[str, str] | None:
        """The template's fields with their values, or None. `path` is still percent-encoded."""
        if verb != self.binding.verb:
            return None
        match = self.pattern.fullmatch(path)
        if match is None:
            return None
        return {field: unquote(value) for field, value in zip(self.fields, match.groups(), strict=True)}


def bindings_of(method: MethodDescriptor) -> Iterator[Binding]:
    """The bindings in a method's `google.api.http` option; none when it has no such option."""
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    rule = options.Extensions[annotations_pb2.http]
    for each in (rule, *rule.additional_bindings):
        kind = each.WhichOneof("pattern")
        if kind == "custom":
            verb, template = each.custom.kind, each.custom.path
        elif kind is not None:
            verb, template = kind.upper(), str(getattr(each, kind))
        else:
            continue
        yield Binding(verb, template, each.body, each.response_body)


def compile_route(binding: Binding, method: MethodDescriptor) -> Route:
    """Makes a binding matchable. Raises ValueError for a template that is malformed or names no field."""
    template = binding.template
    if not template.startswith("/") or len(template) > TEMPLATE_CHARACTERS_MAX:
        raise ValueError(f"not a path template: {template!r}")
    fields: list[str] = []
    pattern = ""
    at = 0
    while at < len(template):
        token = _TOKEN.match(template, at)
        if token is None:
            raise ValueError(f"not a path template: {template!r}")
        at = token.end()
        if token["field"]:
            _check_field(method, token["field"])
            fields.append(token["field"])
            pattern += f"({_segments(token['inner'] or '*')})"
        else:
            pattern += _segments(token[0])
    if len(fields) > VARIABLES_MAX:
        raise ValueError(f"too many variables: {template!r}")
    return Route(binding, method, re.compile(pattern), tuple(fields))


def _segments(text: str) -> str:
    parts = re.split(r"(\*\*|\*)", text)
    return "".join(".*" if part == "**" else "[^/:]+" if part == "*" else re.escape(part) for part in parts)


def _check_field(method: MethodDescriptor, path: str) -> None:
    descriptor: Descriptor | None = method.input_type
    for name in path.split("."):
        field = descriptor.fields_by_name.get(name) if descriptor is not None else None
        if field is None:
            raise ValueError(f"{method.full_name} has no field {path!r}")
        descriptor = field.message_type
