from collections.abc import Callable

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from cluster.pb.etcd.etcdserverpb import rpc_pb2
from cluster.pb.orrery.rpctest.v1 import transcoding_pb2
from cluster.rpc.transcoding import BindingError, Routes, TemplateError

SERVICES = transcoding_pb2.DESCRIPTOR.services_by_name


@pytest.mark.parametrize(
    ("http_method", "path", "name"),
    [
        ("POST", "/v1/whole", "Whole"),
        ("GET", "/v1/whole", "Whole"),
        ("SEARCH", "/v1/whole:search", "Whole"),
        ("GET", "/v1/shelves/1/books/2", "ByName"),
        ("GET", "/v1/numbers/7", "ByNumber"),
        ("GET", "/v1/files/a/b/c", "UnderFiles"),
        ("PUT", "/v1/parts/x", "Part"),
        ("POST", "/v1/parts/x:publish", "Publish"),
        ("POST", "/v1/parts/x", None),
        ("DELETE", "/v1/whole", None),
        ("GET", "/v1", None),
    ],
)
def test_which_request_is_which_method(http_method: str, path: str, name: str | None) -> None:
    found = Routes(SERVICES.values()).find(http_method, path)
    assert (found.binding.method.name if found else None) == name


def test_what_a_path_takes() -> None:
    routes = Routes(SERVICES.values())
    assert routes.methods_at("/v1/whole") == ["GET", "POST"]
    assert routes.methods_at("/v1/parts/x:publish") == ["POST", "PUT"]
    assert routes.methods_at("/v2") == []


def test_every_method_of_etcd_that_its_gateway_has() -> None:
    services = rpc_pb2.DESCRIPTOR.services_by_name.values()
    routes = Routes(services)
    bound = {"/v3/kv/range", "/v3/kv/lease/revoke", "/v3/lease/leases", "/v3/maintenance/transfer-leadership"}
    assert all(routes.find("POST", path) for path in bound)
    methods = {method.name for service in services for method in service.methods}
    found = {binding.method.name for by in routes._literal.values() for binding in by.values()}
    assert methods - found == {"RangeStream"}


def service(*fill: Callable[[descriptor_pb2.MethodOptions], object], streams: bool = False) -> ServiceDescriptor:
    """A service whose methods have the given options."""
    file = descriptor_pb2.FileDescriptorProto(
        name="test.proto",
        package="test",
        syntax="proto3",
        dependency=["orrery/rpctest/v1/transcoding.proto", "google/api/annotations.proto"],
    )
    made = file.service.add(name="Test")
    for number, options in enumerate(fill):
        method = made.method.add(
            name=f"M{number}",
            input_type=".orrery.rpctest.v1.Every",
            output_type=".orrery.rpctest.v1.Every",
            client_streaming=streams,
        )
        options(method.options)
    pool = descriptor_pool.DescriptorPool()
    known: set[str] = set()

    def add(name: str) -> None:
        if name not in known:
            known.add(name)
            proto = descriptor_pb2.FileDescriptorProto()
            descriptor_pool.Default().FindFileByName(name).CopyToProto(proto)
            for dependency in proto.dependency:
                add(dependency)
            pool.Add(proto)

    for dependency in file.dependency:
        add(dependency)
    pool.Add(file)
    return pool.FindServiceByName("test.Test")


def get(path: str, **options: str) -> Callable[[descriptor_pb2.MethodOptions], object]:
    def fill(target: descriptor_pb2.MethodOptions) -> None:
        rule = target.Extensions[annotations_pb2.http]
        rule.get = path
        for name, value in options.items():
            setattr(rule, name, value)

    return fill


@pytest.mark.parametrize(
    ("fill", "why"),
    [
        ([get("/a", body="none")], "has no field none"),
        ([get("/a", response_body="none")], "has no field none"),
        ([get("/{none}")], "has no field none that a path can set"),
        ([get("/{numbers}")], "has no field numbers that a path can set"),
        ([get("/{nested}")], "has no field nested that a path can set"),
        ([get("/a"), get("/a")], "bound twice"),
        ([get("/{string_value}"), get("/{int32_value}")], "bound twice"),
        ([lambda options: options.Extensions[annotations_pb2.http].SetInParent()], "without a path"),
    ],
)
def test_annotations_that_cannot_be_served(
    fill: list[Callable[[descriptor_pb2.MethodOptions], object]], why: str
) -> None:
    with pytest.raises(BindingError, match=why):
        Routes([service(*fill)])


def test_a_stream_of_requests_needs_the_whole_body() -> None:
    with pytest.raises(BindingError, match="stream of requests"):
        Routes([service(get("/a"), streams=True)])


def test_additional_bindings_are_one_level_deep() -> None:
    def nest(options: descriptor_pb2.MethodOptions) -> None:
        get("/a")(options)
        rule = options.Extensions[annotations_pb2.http].additional_bindings.add(get="/b")
        rule.additional_bindings.add(get="/c")

    with pytest.raises(BindingError, match="additional"):
        Routes([service(nest)])


def test_a_wrong_template_is_an_error() -> None:
    with pytest.raises(TemplateError):
        Routes([service(get("a"))])
