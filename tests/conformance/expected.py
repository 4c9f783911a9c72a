"""What every cell is to say, as data: one answer for each cause, and where a row differs, why."""

from fnmatch import fnmatch

PLAIN = {
    "healthy": "ok/completed/after_terminal",
    "fin": "cancelled/client_disconnect/mid_stream",
    "rst": "cancelled/client_disconnect/mid_stream",
    "unread": "cancelled/client_disconnect/mid_stream",
    "before_headers": "gave_up/client_disconnect/before_headers",
    "stall": "cancelled/client_disconnect/mid_stream",
    "after_terminal": "ok/completed/after_terminal",
    "raise_first": "silent/producer_error/before_first_chunk",
    "raise_later": "silent/producer_error/mid_stream",
    "timeout": "silent/deadline_exceeded/mid_stream",
    "cancelled": "silent/server_cancelled/mid_stream",
    "missing_terminal": "silent/missing_terminal/mid_stream",
    "in_band_error": "silent/in_band_error/mid_stream",
    "blank": "ok/completed/before_first_chunk",
    "no_final": "silent/incomplete_response/mid_stream",
    "short": "silent/incomplete_response/mid_stream",
    "http10": "ok/completed/after_terminal",
    "head": "-",
    "status_500": "loud/http_5xx/before_headers",
    "drained": "ok/completed/after_terminal",
    "sigterm": "silent/server_shutdown/mid_stream",
}

_WHOLE = "ok/completed/after_terminal"
_BLOCKED = (
    "Django consumes a synchronous iterator whole before it sends the first chunk: it has ended before the client acts"
)
_NO_CHUNK = "Django consumes a synchronous iterator whole before it sends the first chunk: none was sent"
_NOTHING_TOLD = (
    "not detectable: `send` returns as ever, granian's objects say the same, and an application that never calls"
    " `receive` gets no message; a test compares recordings of the bare server"
)

DIFFERENT = [
    (
        *("granian", "raw", ["fin", "rst", "unread", "before_headers", "stall"], _WHOLE),
        _NOTHING_TOLD,
    ),
    (
        *("granian", "*", ["sigterm"], "-"),
        "started without ended: granian kills its worker (SIGKILL) when the limit runs out; nothing runs any more",
    ),
    (
        *("uvicorn-* gunicorn-uvicorn", "sse-starlette", ["drained", "sigterm"], "silent/server_shutdown/mid_stream"),
        "sse-starlette ends its streams itself when it finds uvicorn stopping",
    ),
    (
        *("gunicorn-*", "*", ["sigterm"], "-"),
        "started without ended: gunicorn kills its worker (SIGKILL) when the limit runs out; nothing runs any more",
    ),
    (
        *("daphne", "django-sync", ["drained"], "recycled/server_shutdown/before_first_chunk"),
        "daphne cancels all applications at once, before Django has sent the first chunk: no dialect was seen",
    ),
    (
        *("daphne", "*", ["drained"], "silent/server_shutdown/mid_stream"),
        "daphne waits for nobody: it cancels all applications at once",
    ),
    (
        *(
            "granian",
            "starlette* fastapi* sse-starlette litestar",
            ["before_headers"],
            "gave_up/client_disconnect/before_first_chunk",
        ),
        "granian's objects know nothing of the client; the framework listens from the headers on",
    ),
    (
        *("uvicorn-*", "django-sync", ["sigterm"], "-"),
        "started without ended: a thread cannot be cancelled, and uvicorn exits without waiting for it",
    ),
    (
        *("*", "django-sync", ["sigterm"], "recycled/server_shutdown/before_first_chunk"),
        "Django consumes a synchronous iterator whole before it sends the first chunk: no dialect was seen",
    ),
    (
        *("granian", "django-sync", ["unread"], _WHOLE),
        "granian's objects know nothing of the client, and Django sends without a pause in which it would listen",
    ),
    ("hypercorn-h2 daphne", "django-sync", ["unread"], _WHOLE, "no backpressure: the server accepted it all at once"),
    ("*", "django-sync", ["stall"], _WHOLE, _BLOCKED),
    ("*", "django-sync", ["raise_later"], "silent/producer_error/before_first_chunk", _NO_CHUNK),
    ("*", "django-sync", ["timeout"], "silent/deadline_exceeded/before_first_chunk", _NO_CHUNK),
    ("*", "django-sync", ["cancelled"], "silent/server_cancelled/before_first_chunk", _NO_CHUNK),
]
"""Servers, frameworks, causes, cell, why; the first match counts."""


ROUTES = {"raw": None, "quart": "/s/<cause>", "django": "/s/<str:cause>", "django-sync": "/s/<str:cause>"}
"""The template of the route, of all others that of Starlette."""


def route(framework):
    """Return what ``http.route`` is to say."""
    return ROUTES.get(framework, "/s/{cause}")


def _among(name, patterns):
    return any(fnmatch(name, pattern) for pattern in patterns.split())


def expected(server, framework, cause):
    """Return what a cell is to say, and why if that is not what the others say."""
    return differs(DIFFERENT, server, framework, cause) or (PLAIN[cause], None)


def differs(table, server, framework, cause):
    """Return the first match in a table of differences."""
    for servers, frameworks, causes, cell, why in table:
        if _among(server, servers) and _among(framework, frameworks) and cause in causes:
            return cell, why
    return None
