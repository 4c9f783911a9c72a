"""Ask every other tool what it tells of an end: ``python -m tests.peers [NAME]``.

Writes the tables of docs/comparison.md; with a name only that one is asked, and the page is left alone.
"""

import http.client
import http.server
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

from bench.pool import BenchError, processes
from tests.peers import attach
from tests.peers.worker import DONE, EVENT

PAGE = Path(__file__).parents[2] / "docs" / "comparison.md"
MARK = "<!-- written by make peers -->"
SERVED = {
    "whole": "all is well",
    "cut": "a clean end without `[DONE]`",
    "raises": "the generator raises",
    "behind/raises": "the same, behind `BaseHTTPMiddleware`",
    "left": "the reader leaves",
    "status": "503",
}
READ = {
    "whole": "all is well",
    "cut": "a clean end without `[DONE]`",
    "broken": "the connection breaks",
    "error": "an error as an event",
    "status": "503",
}
SETTINGS = {"OTEL_PYTHON_STREAMING_STATE_DIR": "off", "OTEL_PYTHON_STREAMING_ROUTES": "*"}
"""So that a 503 of ours counts."""
PACKAGES = (
    *("ddtrace", "elastic-apm", "fastapi", "langfuse", "logfire", "openai", "openinference-instrumentation-openai"),
    *("opentelemetry-instrumentation-fastapi", "opentelemetry-instrumentation-genai-openai"),
    *("opentelemetry-instrumentation-openai", "prometheus-fastapi-instrumentator", "sentry-sdk", "starlette-exporter"),
)


def process(kind, name):
    """Have one with one library in place."""
    return processes(kind, [name], "tests.peers.worker", **SETTINGS)


def in_place(name, found):
    """Return what a tool has told of each ending, if it tells anything of a good one."""
    if not found["whole"]["told"]:
        raise BenchError(f"{name} tells nothing of a good end: it is not in place")
    return found


class Model(http.server.BaseHTTPRequestHandler):
    """A model server, whose path says how its answer ends."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        ending = self.path.split("/")[1]
        if ending == "status":
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        last = {"whole": DONE, "error": 'data: {"error": {"message": "overloaded"}}\n\n'}
        for event in (EVENT, EVENT, last.get(ending, "")):
            if event:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event.encode()))
        if ending != "broken":
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_):
        pass


def visit(port, ending):
    """Ask for an answer, and read it, or leave after the first line."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", f"/{ending}")
    response = connection.getresponse()
    try:
        response.readline() if ending == "left" else response.read()
    except http.client.IncompleteRead:
        pass
    finally:
        response.close()
        connection.close()
    time.sleep(1.0 if ending == "left" else 0)


def serving(name):
    """Return what a tool tells of each ending of a stream that is served."""
    found = {}
    with process("server", name) as (worker,):
        port = worker.ask("port")
        for ending in SERVED:
            visit(port, ending)
            found[ending] = worker.ask("heard")
    return in_place(name, found)


def reading(name, base):
    """Return what a tool tells of each ending of a stream that is read by OpenAI's SDK."""
    with process("client", name) as (worker,):
        return in_place(name, {ending: worker.ask("read", base=f"{base}/{ending}") for ending in READ})


def table(endings, rows):
    """Return a table; bold is what a tool tells no differently of a good end."""
    yield "| | " + " | ".join(endings.values()) + " |"
    yield "|---" * (len(endings) + 1) + "|"
    for name, row in rows.items():
        cells = [", ".join(dict.fromkeys(row[ending]["told"])) or "nothing" for ending in endings]
        same = [cell if index == 0 or cell != cells[0] else f"**{cell}**" for index, cell in enumerate(cells)]
        yield f"| {name} | " + " | ".join(same) + " |"


def main(only):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    wanted = [name for name in dict.fromkeys([*attach.SERVERS, *attach.CLIENTS]) if only in {None, name}]
    served = {name: serving(name) for name in wanted if name in attach.SERVERS}
    read = {name: reading(name, base) for name in wanted if name in attach.CLIENTS}
    callers = {ending: read[wanted[0]][ending]["caller"] for ending in READ} if wanted[0] in read else {}
    if callers:
        read = {"*the caller is told*": {ending: {"told": [told]} for ending, told in callers.items()}} | read
    words = [
        *("Of a stream that is served:", "", *table(SERVED, served), ""),
        *("Of a stream that is read by OpenAI's SDK:", "", *table(READ, read), ""),
        f"As tried on {time.strftime('%Y-%m-%d')}: " + ", ".join(f"{name} {version(name)}" for name in PACKAGES) + ".",
    ]
    sys.stdout.write("\n".join([*words, ""]))
    if only is None:
        before, _, after = PAGE.read_text().split(MARK)
        PAGE.write_text(MARK.join([before, "\n".join(["", *words, ""]), after]))


if __name__ == "__main__":
    main(*sys.argv[1:] or [None])
