"""gRPC services as JSON over HTTP/1.1, by the `google.api.http` options of their methods."""

from cluster.rpc.transcoding.bindings import Binding, BindingError, Routes
from cluster.rpc.transcoding.template import TemplateError
from cluster.rpc.transcoding.transcoder import Transcoder

__all__ = ["Binding", "BindingError", "Routes", "TemplateError", "Transcoder"]
