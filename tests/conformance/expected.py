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
    "unlimited": "ok/completed/after_terminal",
}
DIED = "silent/process_death/mid_stream"
"""A stream whose process was killed: the next one reports it."""
LOST = "lost"
"""A stream whose process was killed as it handed its end over: no span, a count or none (docs/recorder.md, Limits)."""

_WHOLE = "ok/completed/after_terminal"
_BLOCKED = (
    "Django consumes a synchronous iterator whole before it sends the first chunk: it has ended before the client acts"
)
_NO_CHUNK = "Django consumes a synchronous iterator whole before it sends the first chunk: none was sent"
_NOTHING_TOLD = (
    "not detectable: `send` returns as ever, granian's objects say the same, and an application that never calls"
    " `receive` gets no message; a test compares recordings of the bare server"
)

_CUT = "granian over HTTP/2 cuts its streams as soon as it drains, and tells their applications of a disconnect"

DIFFERENT = [
    (
        *("granian-h2", "django-sync", ["drained", "sigterm", "unlimited"]),
        *("recycled/server_shutdown/before_first_chunk", _CUT),
    ),
    ("*", "starlette-file", ["healthy", "http10"], "-", "a body of fixed length is no stream, unless it comes short"),
    (
        *("granian*", "starlette-file", ["fin", "rst", "unread", "short"], "-"),
        "granian takes the file by its name (`http.response.pathsend`) and tells nothing of how it went",
    ),
    (
        *("granian*", "raw", ["fin", "rst", "unread", "before_headers", "stall"], _WHOLE),
        _NOTHING_TOLD,
    ),
    ("granian-h2", "*", ["drained", "sigterm", "unlimited"], "silent/server_shutdown/mid_stream", _CUT),
    (
        *("granian gunicorn-*", "django-sync", ["sigterm"], "silent/process_death/before_first_chunk"),
        "killed (SIGKILL) before Django has sent the first chunk; the next one reports it",
    ),
    (
        *("granian", "*", ["sigterm"], DIED),
        "granian kills its worker (SIGKILL) when the limit runs out; the next one reports it",
    ),
    (
        *(
            "uvicorn-* gunicorn-uvicorn",
            "sse-starlette",
            ["drained", "sigterm", "unlimited"],
            "silent/server_shutdown/mid_stream",
        ),
        "sse-starlette ends its streams itself when it finds uvicorn stopping",
    ),
    (
        *("gunicorn-*", "*", ["sigterm"], DIED),
        "gunicorn kills its worker (SIGKILL) when the limit runs out; the next one reports it",
    ),
    (
        *("daphne", "django-sync", ["drained", "unlimited"], "recycled/server_shutdown/before_first_chunk"),
        "daphne cancels all applications at once, before Django has sent the first chunk: no dialect was seen",
    ),
    (
        *("daphne", "*", ["drained", "unlimited"], "silent/server_shutdown/mid_stream"),
        "daphne waits for nobody: it cancels all applications at once",
    ),
    (
        *(
            "granian*",
            "starlette* fastapi* sse-starlette litestar",
            ["before_headers"],
            "gave_up/client_disconnect/before_first_chunk",
        ),
        "granian's objects know nothing of the client; the framework listens from the headers on",
    ),
    (
        *("*", "django-sync", ["sigterm"], "recycled/server_shutdown/before_first_chunk"),
        "Django consumes a synchronous iterator whole before it sends the first chunk: no dialect was seen",
    ),
    (
        *("granian*", "django-sync", ["unread"], _WHOLE),
        "granian's objects know nothing of the client, and Django sends without a pause in which it would listen",
    ),
    (
        *("gunicorn-asgi", "starlette-file", ["fin", "rst"], f"- or {PLAIN['fin']}"),
        "the file may have been handed over whole before its reader leaves",
    ),
    (
        *("hypercorn-h2", "starlette-file", ["unread"], f"- or {PLAIN['unread']}"),
        "hypercorn's window over HTTP/2 is at times as large as the file: it accepted it all at once",
    ),
    (
        *("daphne", "starlette-file", ["unread"], "-"),
        "no backpressure: the server accepted it all at once",
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


CHANGES = [
    (
        *("granian", "raw", ["blank"], "headers"),
        "granian frames an empty body by length or by chunks, as it finds it or not when it writes the headers",
    ),
    (
        *("hypercorn-h2", "starlette-*", ["fin", "rst", "unread"], "application*"),
        "without backpressure the application is anywhere when its reader leaves",
    ),
    (
        *("uvicorn-*", "*", ["sigterm"], "application goes on"),
        "uvicorn exits before what it has cancelled has unwound; we hold it back until it has",
    ),
    (
        *("granian*", "*", ["drained", "sigterm", "unlimited"], "application goes on"),
        "granian exits before what it has cut, or has sent, has returned; we hold it back until it has",
    ),
    (
        *("daphne", "django-sync", ["drained", "unlimited"], "*"),
        "daphne cancels all at once and stops: what Django's thread reads meanwhile is sent or not",
    ),
    (
        *("daphne", "starlette-sync", [""], "exit"),
        "daphne waits for anyio's worker threads for ever, and is killed by us then, or not at all: by chance",
    ),
    (
        *("granian-h2", "starlette-sync", ["before_headers"], "application*"),
        "a generator's thread has begun or not when the disconnect that waits for it is read",
    ),
    (
        *("granian*", "django-sync", ["stall", "unread"], "application"),
        "of the response and Django's listener either may end first: the server blocks a thread in between",
    ),
    (
        *("*", "fastapi-*", ["fin", "rst", "unread"], "application*"),
        "a generator is cancelled or not, as it waits for its next word or for its reader",
    ),
]
"""Servers, frameworks, causes, what of it differs from the bare server's, why that is so and no harm."""


def fits(due, said):
    """Tell whether a cell says what it is to say; where it is a race, one of several things."""
    return any(said == ("-" if one == LOST else one) for one in due.split(" or "))


def changes(server, framework, cause, what):
    """Return why a cell is not as without us, None if it is to be so."""
    for servers, frameworks, causes, thing, why in CHANGES:
        if _among(server, servers) and _among(framework, frameworks) and cause in causes and fnmatch(what, thing):
            return why
    return None
