"""One WSGI service, written with each framework as its users write it; FRAMEWORK chooses. Nothing of ours is in it."""

import json
import os
import socket
import sys
import time

from answers import WHOLE, head_of, produce_in_thread, set_up_django

REASONS = {200: "200 OK", 500: "500 Internal Server Error"}


def before_headers(cause):
    if cause == "before_headers":
        time.sleep(0.6)


def raw():
    def app(environ, start_response):
        cause = environ["PATH_INFO"].rpartition("/")[2]
        before_headers(cause)
        status, media_type, headers = head_of(cause)
        write = start_response(REASONS[status], [("content-type", media_type), *headers.items()])
        return BODIES.get(cause, lambda *_: produce_in_thread(cause))(environ, write)

    return app


def file(environ, _):
    wrapper = environ.get("wsgi.file_wrapper", lambda it: it)
    return wrapper(open(__file__, "rb"))  # noqa: PTH123 - the server's to close


def written(_, write):
    for chunk in WHOLE if write else ():  # granian has no such thing
        write(chunk)
    return []


BODIES = {
    "one": lambda *_: [b"".join(WHOLE)],
    "list": lambda *_: list(WHOLE),
    "tuple": lambda *_: tuple(WHOLE),
    "text": lambda *_: iter(["text"]),
    "file": file,
    "written": written,
}
"""Bodies that servers treat in ways of their own."""


def recorded():
    """The same, writing down what every chunk and the end come to and what the kernel says, one line a request."""
    inner = raw()

    def app(environ, start_response):
        client = environ.get("gunicorn.socket")
        keys = sorted(key for key in environ if not key.startswith(("HTTP_", "REMOTE_")) and key not in os.environ)

        def state():
            return client and client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]

        def body():
            seen = [keys]
            try:
                for chunk in inner(environ, start_response):
                    seen.append(["chunk", state()])
                    yield chunk
                seen.append(["exhausted", state()])
            finally:
                seen.append([repr(sys.exc_info()[1]), state()])
                with open(os.environ["RECORD"], "a") as record:  # noqa: PTH123 - as plain as can be
                    record.write(json.dumps([environ["PATH_INFO"].rpartition("/")[2], seen]) + "\n")

        return body()

    return app


def flask():
    from flask import Blueprint, Flask, Response

    app, blueprint = Flask(__name__), Blueprint("s", __name__, url_prefix="/s")

    @blueprint.route("/<cause>")
    def stream(cause):
        before_headers(cause)
        status, media_type, headers = head_of(cause)
        return Response(produce_in_thread(cause), status, headers, content_type=media_type)

    app.register_blueprint(blueprint)
    return app


def django():
    from django.http import StreamingHttpResponse

    def stream(request, cause):
        before_headers(cause)
        status, media_type, headers = head_of(cause)
        body = produce_in_thread(cause)
        return StreamingHttpResponse(body, status=status, content_type=media_type, headers=headers)

    set_up_django(stream)
    from django.core.handlers.wsgi import WSGIHandler

    return WSGIHandler()


app = {"raw": raw, "recorded": recorded, "flask": flask, "django": django}[os.environ["FRAMEWORK"]]()

if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
