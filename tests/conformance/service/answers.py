"""What the services answer: the path's last part is the cause that is to end the stream."""

import asyncio
import time

import anyio
from seen import noting

STREAM = "text/event-stream"
SHORT = {"content-length": "1000"}
BIG = " " * 262_144


def event(n, finish=None, padding=""):
    reason = "null" if finish is None else f'"{finish}"'
    return (
        f'data: {{"id":"c","object":"chat.completion.chunk","model":"m","choices":[{{"index":0,'
        f'"delta":{{"content":"word {n}{padding}"}},"finish_reason":{reason}}}]}}\n\n'
    ).encode()


DONE = b"data: [DONE]\n\n"
WHOLE = [event(0), event(1), event(2, "stop"), DONE]
CUT = [event(0), event(1), event(2)]
LONG = [step for n in range(100) for step in (event(n), 0.02)]

STEPS = {
    "healthy": WHOLE,
    "fin": [*LONG, event(100, "stop"), DONE],
    "read": [*LONG, event(100, "stop"), DONE],
    "rst": [*LONG, event(100, "stop"), DONE],
    "unread": [*(step for n in range(60) for step in (event(n, None, BIG), 0.03)), event(60, "stop"), DONE],
    "before_headers": [0.05, *WHOLE],
    "after_headers": [0.6, *WHOLE],
    "stall": [*CUT, 1.5, event(3), 0.05, event(4, "stop"), DONE],
    "after_terminal": [*WHOLE, 0.6],
    "raise_first": [0.05, ValueError("by the path's wish")],
    "raise_later": [*CUT, 0.05, ValueError("by the path's wish")],
    "timeout": [*CUT, 0.05, TimeoutError],
    "cancelled": [*CUT, 1.0],
    "missing_terminal": CUT,
    "in_band_error": [event(0), b'data: {"error":{"message":"overloaded"}}\n\n'],
    "blank": [],
    "no_final": CUT,
    "short": [b"x" * 400],
    "http10": WHOLE,
    "head": WHOLE,
    "status_500": WHOLE,
    "drained": [*(step for n in range(14) for step in (event(n), 0.05)), event(14, "stop"), DONE],
    "unlimited": [*(step for n in range(25) for step in (event(n), 0.1)), event(25, "stop"), DONE],
    "sigterm": [*LONG * 5, event(100, "stop"), DONE],
}


def head_of(cause):
    """Return status, media type and further headers."""
    if cause == "short":
        return 200, "application/octet-stream", SHORT
    return (500 if cause == "status_500" else 200), STREAM, {}


async def before_headers(cause):
    """Run in the task that answers the request."""
    if cause == "before_headers":
        await anyio.sleep(0.6)
    if cause == "cancelled":
        asyncio.get_running_loop().call_later(0.3, asyncio.current_task().cancel)


async def produce(cause):
    with noting(cause, "producer"):
        for step in STEPS[cause]:
            if isinstance(step, float):
                await anyio.sleep(step)
            elif step is TimeoutError:
                with anyio.fail_after(0.05):
                    await anyio.sleep(10)
            elif isinstance(step, Exception):
                raise step
            else:
                yield step


def produce_in_thread(cause):
    with noting(cause, "producer"):
        for step in STEPS[cause]:
            if isinstance(step, float):
                time.sleep(step)
            elif step is TimeoutError or isinstance(step, Exception):
                raise step
            else:
                yield step


def set_up_django(view):
    """Have Django answer every cause by one view; its handler is made afterwards."""
    import django
    from django.conf import settings
    from django.urls import include, path

    urls = type("urls", (), {"urlpatterns": [path("s/", include([path("<str:cause>", view)]))]})
    if not settings.configured:  # contrib's instrumentation does
        settings.configure()
    settings.ROOT_URLCONF, settings.ALLOWED_HOSTS = urls, ["*"]
    settings.SECRET_KEY, settings.LOGGING_CONFIG = "x", None
    django.setup()
