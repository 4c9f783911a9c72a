"""``python -m demo.traffic``: endless, whatever becomes of the service."""

import asyncio
import http.server
import random
import sys
import threading

from demo import traffic
from demo.faults import FAULTS
from stack import Process, free_ports


def test_goes_on(tmp_path):
    """It asks a service that answers nothing again and again."""
    asked = []

    class Service(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.path)

        def log_message(self, *_):
            pass

    [port] = free_ports(1)
    command = [sys.executable, "-m", "demo.traffic", "127.0.0.1", str(port)]
    with Process("traffic", command, tmp_path / "log") as process:
        with http.server.ThreadingHTTPServer(("127.0.0.1", port), Service) as server:
            threading.Thread(target=server.serve_forever).start()
            process.wait_until(lambda: len(asked) > 2, "three visitors")
            server.shutdown()
        process.check()
    assert set(asked) <= {fault.route for fault in FAULTS}
    assert not (tmp_path / "log").read_text()


def test_nobody_there():
    """A service that is not there is no reason to stop."""
    [port] = free_ports(1)
    asyncio.run(traffic.visit("127.0.0.1", port, FAULTS[0]))


def test_mixture():
    """Every fault comes, and most streams are healthy."""
    rng = random.Random(20)
    chosen = [traffic.choose(rng) for _ in range(2000)]
    assert set(chosen) == set(FAULTS)
    assert chosen.count(FAULTS[0]) > len(chosen) / 2
