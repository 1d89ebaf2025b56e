"""A small HTTP/1.1 server: messages, the connection, the listener and a router by exact path."""

from cluster.http.address import join_address, split_address
from cluster.http.connection import HttpConnection
from cluster.http.connections import HttpConnections
from cluster.http.limits import Limits
from cluster.http.message import Handler, Headers, HttpError, Request, Response
from cluster.http.router import Router
from cluster.http.server import HttpServer

__all__ = [
    "Handler",
    "Headers",
    "HttpConnection",
    "HttpConnections",
    "HttpError",
    "HttpServer",
    "Limits",
    "Request",
    "Response",
    "Router",
    "join_address",
    "split_address",
]
