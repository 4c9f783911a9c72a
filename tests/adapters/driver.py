"""A small ASGI server's side, written by hand: it records what the application does and plays one client."""

import asyncio
from dataclasses import dataclass, field


def http_scope(path="/v1/chat", method="POST", headers=(), spec="2.3"):
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


@dataclass
class Connection:
    """One exchange.

    ``leave_after``: the client goes after that many body messages. ``door`` is how the server tells:
    ``receive`` (http.disconnect), ``send`` (OSError, ASGI 2.4) or ``flag`` (silent sends, a flag on its object).
    """

    leave_after: int | None = None
    door: str = "receive"
    sent: list = field(default_factory=list)
    raised: BaseException | None = None
    disconnected: bool = False

    def __post_init__(self):
        self.requested = False
        self.gone = asyncio.Event()
        self.complete = False

    async def receive(self):
        if not self.requested:
            self.requested = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if self.leave_after is not None and len(self.sent) > self.leave_after:
            if self.door == "receive":
                self.gone.set()
                await asyncio.sleep(0)
            elif self.door == "send":
                raise OSError("client gone")
            self.disconnected = self.door == "flag"
            if self.disconnected:
                return
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.complete = True
            self.gone.set()

    @property
    def bodies(self):
        return [m.get("body", b"") for m in self.sent if m["type"] == "http.response.body"]

    async def run(self, app, scope=None):
        """Run the application as a server does: what it raises is caught and kept."""
        try:
            await app(scope or http_scope(), self.receive, self.send)
        except BaseException as exception:
            self.raised = exception
        return self


def start(status=200, content_type=b"text/event-stream", *headers):
    return {"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type), *headers]}


def body(data, more=True):
    return {"type": "http.response.body", "body": data, "more_body": more}


def chat(n, finish=None):
    """One event of OpenAI's chat completions, in the real shape."""
    reason = "null" if finish is None else f'"{finish}"'
    return (
        f'data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'
        f'"choices":[{{"index":0,"delta":{{"content":"word {n}"}},"finish_reason":{reason}}}]}}\n\n'
    ).encode()


DONE = b"data: [DONE]\n\n"
ANSWER = [chat(0), chat(1), chat(2), chat(3, "stop"), DONE]


def script(*steps):
    """An application that sends the given messages, and raises, sleeps or calls where a step says so."""

    async def app(scope, receive, send):
        for step in steps:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif callable(step):
                step()
            else:
                await send(step)

    return app


def answer(*datas):
    """Messages of a streamed answer with a clean end."""
    return [start(), *(body(d) for d in datas), body(b"", more=False)]
