"""JSON over HTTP for any gRPC service, from its descriptors (`google.api.http`)."""

from cluster.rpc.transcoding.rules import Binding, Route, bindings_of, compile_route
from cluster.rpc.transcoding.transcoder import Transcoder

__all__ = ["Binding", "Route", "Transcoder", "bindings_of", "compile_route"]
