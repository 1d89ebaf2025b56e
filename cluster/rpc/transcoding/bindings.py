"""Which HTTP requests are which calls: the `google.api.http` options of services, and the table made from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

from cluster.rpc.transcoding.fields import find_field
from cluster.rpc.transcoding.template import Template, parse_template

WHOLE = "*"
"""As `body`: the request's body is the whole message, and query parameters are none of it."""


class HttpRule(Protocol):
    """What is read of google.api.HttpRule, whose library has no types."""

    body: str
    response_body: str

    def WhichOneof(self, name: str) -> str | None:  # noqa: N802, D102
        ...


class BindingError(ValueError):
    """An annotation that cannot be served."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One HTTP method and path template for a method."""

    method: MethodDescriptor
    http_method: str
    template: Template
    body: str
    """`*`, the field that the body goes into, or empty when it goes nowhere."""
    response_body: str
    """The field that is the response's body; empty for the whole message."""

    @property
    def path(self) -> str:
        """The method as gRPC names it."""
        service = self.method.containing_service
        assert service is not None
        return f"/{service.full_name}/{self.method.name}"


@dataclass(frozen=True, slots=True)
class Found:
    """A binding, and what the path says to which fields."""

    binding: Binding
    variables: list[tuple[tuple[str, ...], str]]


class Routes:
    """All bindings of some services. Literal paths are found in one step; templates are tried from the most special."""

    def __init__(self, services: Iterable[ServiceDescriptor]) -> None:
        """Raises BindingError or TemplateError for an annotation that is wrong, or that takes another one's place."""
        self._literal: dict[str, dict[str, Binding]] = {}
        self._templates: list[tuple[Template, dict[str, Binding]]] = []
        for service in services:
            for binding in bindings_of(service):
                self._add(binding)
        self._templates.sort(key=lambda entry: entry[0].rank)

    def find(self, http_method: str, path: str) -> Found | None:
        """The binding for a request; `path` is still percent-encoded."""
        methods = self._literal.get(path)
        if methods is not None and http_method in methods:
            return Found(methods[http_method], [])
        for template, by_method in self._templates:
            if http_method in by_method:
                variables = template.match(path)
                if variables is not None:
                    return Found(by_method[http_method], variables)
        return None

    def methods_at(self, path: str) -> list[str]:
        """The HTTP methods that the path takes: none when there is no such path."""
        methods = set(self._literal.get(path, ()))
        for template, by_method in self._templates:
            if template.match(path) is not None:
                methods.update(by_method)
        return sorted(methods)

    def _add(self, binding: Binding) -> None:
        template = binding.template
        if template.is_literal:
            text = "/" + "/".join(template.segments) + (f":{template.verb}" if template.verb else "")
            methods = self._literal.setdefault(text, {})
        else:
            # Names of variables tell no two paths apart, so they make no two templates different.
            shape = (template.segments, template.verb)
            for known, by_method in self._templates:
                if (known.segments, known.verb) == shape and binding.http_method in by_method:
                    raise BindingError(f"{binding.http_method} {template.text} is bound twice")
            methods = {}
            self._templates.append((template, methods))
        if binding.http_method in methods:
            raise BindingError(f"{binding.http_method} {template.text} is bound twice")
        methods[binding.http_method] = binding


def bindings_of(service: ServiceDescriptor) -> list[Binding]:
    """The bindings that a service's methods are annotated with. Methods without annotation have none."""
    bindings: list[Binding] = []
    for method in service.methods:
        options = method.GetOptions()
        if not options.HasExtension(annotations_pb2.http):
            continue
        rule = options.Extensions[annotations_pb2.http]
        bindings.append(_read(method, rule))
        for additional in rule.additional_bindings:
            if additional.additional_bindings:
                raise BindingError(f"{method.full_name}: additional bindings cannot have additional bindings")
            bindings.append(_read(method, additional))
    return bindings


def _read(method: MethodDescriptor, rule: HttpRule) -> Binding:
    pattern = rule.WhichOneof("pattern")
    if pattern is None:
        raise BindingError(f"{method.full_name}: a binding without a path")
    if pattern == "custom":
        custom = getattr(rule, pattern)
        http_method, path = str(custom.kind), str(custom.path)
    else:
        http_method, path = pattern.upper(), str(getattr(rule, pattern))
    binding = Binding(method, http_method, parse_template(path), rule.body, rule.response_body)
    _check(binding)
    return binding


def _check(binding: Binding) -> None:
    method, request = binding.method, binding.method.input_type
    for variable in binding.template.variables:
        field = find_field(request, variable.field_path)
        if field is None or field.is_repeated:
            name = ".".join(variable.field_path)
            raise BindingError(f"{method.full_name}: {request.full_name} has no field {name} that a path can set")
    for name, message in ((binding.body, request), (binding.response_body, method.output_type)):
        _check_field(method, name, message)
    if method.client_streaming and binding.body != WHOLE:
        raise BindingError(f'{method.full_name}: a stream of requests needs body: "*"')


def _check_field(method: MethodDescriptor, name: str, message: Descriptor) -> None:
    if name not in ("", WHOLE) and name not in message.fields_by_name:
        raise BindingError(f"{method.full_name}: {message.full_name} has no field {name}")
