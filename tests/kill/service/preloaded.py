"""A WSGI application that has answered a request of its own, in process, before its server forks (a warm-up)."""

from io import BytesIO

from held import wsgi as held

from otel_streaming import WSGIStreamingMiddleware


def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/warm":
        start_response("200 OK", [("content-length", "0")])
        return [b""]
    return held(environ, start_response)


def warm_up():
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/warm", "wsgi.input": BytesIO()}
    list(WSGIStreamingMiddleware(wsgi)(environ, lambda *_: None))


warm_up()
