import pytest

from cluster.pb.orrery.rpctest.v1 import rpctest_pb2 as pb
from cluster.rpc.transcoding import Binding, bindings_of, compile_route

METHOD = pb.DESCRIPTOR.services_by_name["TestService"].methods_by_name["UnaryCall"]


def test_bindings_come_from_the_option() -> None:
    assert [(binding.verb, binding.template, binding.body) for binding in bindings_of(METHOD)] == [
        ("POST", "/v1/unary", "*"),
        ("GET", "/v1/sizes/{response_size}", ""),
        ("PUT", "/v1/status/{response_status.message=a/*/**}:set", "payload"),
    ]


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/a", "/a", {}),
        ("/a.b", "/aXb", None),
        ("/*/b", "/x/b", {}),
        ("/*/b", "/x/y/b", None),
        ("/**", "/x/y", {}),
        ("/{response_size}", "/3", {"response_size": "3"}),
        ("/{response_size}", "/3/4", None),
        ("/{response_status.message}", "/a%2Fb", {"response_status.message": "a/b"}),
        ("/{response_status.message=**}", "/a/b", {"response_status.message": "a/b"}),
    ],
)
def test_templates(template: str, path: str, values: dict[str, str] | None) -> None:
    assert compile_route(Binding("GET", template), METHOD).match("GET", path) == values


NONE = ["", "a", "/{", "/{none}", "/{payload.none}", "/{response_size.x}", "/" + "x" * 600]


@pytest.mark.parametrize("template", NONE)
def test_templates_that_are_none(template: str) -> None:
    with pytest.raises(ValueError, match=r"template|no field"):
        compile_route(Binding("GET", template), METHOD)
