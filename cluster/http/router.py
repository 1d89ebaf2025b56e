"""Handlers by exact path and method."""

from cluster.http.message import Handler, HttpError, Request, Response


class Router:
    """A handler that finds the handler: 404 for an unknown path, 405 with `Allow` for a known one."""

    def __init__(self) -> None:
        self._routes: dict[str, dict[str, Handler]] = {}

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Registers a handler. One for GET answers HEAD, too. Raises ValueError when the pair is taken."""
        methods = self._routes.setdefault(path, {})
        if method in methods:
            raise ValueError(f"{method} {path} has a handler already")
        methods[method] = handler

    async def __call__(self, request: Request) -> Response:
        """Answers the request."""
        methods = self._routes.get(request.path)
        if methods is None:
            raise HttpError(404, "no such path; there are: " + ", ".join(sorted(self._routes)))
        handler = methods.get(request.method) or (methods.get("GET") if request.method == "HEAD" else None)
        if handler is None:
            allowed = sorted(methods) + (["HEAD"] if "GET" in methods else [])
            return Response(405, b"method not allowed\n", headers=(("allow", ", ".join(allowed)),))
        return await handler(request)
