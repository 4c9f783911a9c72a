"""Run the SDKs: each in a process of its own environment, instrumented, against the server that misbehaves."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.adapters.upstream import Upstream
from tests.sdks import dialects
from tests.sdks.expected import IMPOSSIBLE, expected, fits
from tests.sdks.faults import FAULTS, LEAVING, ONLY_ASYNC, prepare, sizes

ROOT = Path(__file__).parents[2]
HERE = Path(sys.executable).parent
ENVIRONMENTS = {"": HERE, **{name: ROOT / ".venv-sdks" / name / "bin" for name in ("sdks", "openai2")}}
READ = Path(__file__).parent / "service" / "read.py"


@dataclass(frozen=True)
class Sdk:
    """An SDK: how the service calls it, whose dialect it reads, the environment it is in, and what is told of it."""

    api: str
    dialect: dialects.Dialect
    packages: str
    environment: str = "sdks"
    modes: tuple = ("sync", "async")
    by_hand: bool = False

    @property
    def bin(self):
        return ENVIRONMENTS[self.environment]


SDKS = {
    "openai 3, chat": Sdk("openai chat", dialects.CHAT, "openai httpx2", ""),
    "openai 3, Responses": Sdk("openai responses", dialects.RESPONSES, "openai httpx2", ""),
    "openai 2, chat": Sdk("openai chat", dialects.CHAT, "openai httpx", "openai2"),
    "openai 2, Responses": Sdk("openai responses", dialects.RESPONSES, "openai httpx", "openai2"),
    "anthropic": Sdk("anthropic", dialects.ANTHROPIC, "anthropic httpx2", ""),
    "google-genai": Sdk("google-genai", dialects.GEMINI, "google-genai httpx2 aiohttp"),
    "cohere": Sdk("cohere", dialects.COHERE, "cohere httpx"),
    "mistralai": Sdk("mistralai", dialects.CHAT, "mistralai httpx2"),
    "ollama": Sdk("ollama", dialects.OLLAMA, "ollama httpx"),
    "litellm, openai": Sdk("litellm openai", dialects.CHAT, "litellm openai"),
    "litellm, anthropic": Sdk("litellm anthropic", dialects.ANTHROPIC, "litellm httpx aiohttp"),
    "boto3": Sdk("boto3", dialects.BEDROCK, "boto3 botocore urllib3", modes=("sync",)),
    "requests by hand": Sdk("requests", dialects.CHAT, "requests urllib3", "", ("sync",), by_hand=True),
    "aiohttp by hand": Sdk("aiohttp", dialects.CHAT, "aiohttp", "", ("async",), by_hand=True),
}
ROWS = [(name, mode) for name, sdk in SDKS.items() for mode in sdk.modes]

ENV = {
    **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
    "OTEL_PYTHON_STREAMING_STATE_DIR": "off",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "httpx,httpx2,aiohttp-client,urllib3,requests,botocore",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # nothing is asked of anybody else
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Row:
    """What was found of one SDK, fault by fault."""

    name: str
    mode: str
    told: dict = field(default_factory=dict)  # to the caller
    spans: dict = field(default_factory=dict)
    lines: dict = field(default_factory=dict)
    requests: dict = field(default_factory=dict)  # that the server received
    log: str = ""

    def __str__(self):
        return f"{self.name} {self.mode}"

    @property
    def sdk(self):
        return SDKS[self.name]

    @property
    def faults(self):
        possible = FAULTS if self.mode == "async" else FAULTS.keys() - ONLY_ASYNC
        return [fault for fault in FAULTS if fault in possible and (str(self), fault) not in IMPOSSIBLE]

    def of(self, sdk):
        return self.name.partition(",")[0] == sdk

    def told_success(self, fault):
        return self.told[fault] == "completed"


def run_row(name, mode):
    """Have one SDK read every fault."""
    row = Row(name, mode)
    with Upstream() as server:
        prepare(server, row.sdk.dialect)
        faults = [*row.faults, "retried"]  # asked twice: what has streamed before is known to stream
        command = [row.sdk.bin / "opentelemetry-instrument", row.sdk.bin / "python", READ, row.sdk.api, mode]
        done = subprocess.run(
            [*command, server.url, *faults],
            env=os.environ | ENV,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        requests = list(server.requests)
    row.log = done.stderr
    for line in map(json.loads, filter(lambda line: line.startswith("{"), done.stdout.splitlines())):
        fault = line["fault"]
        row.told[fault], row.spans[fault], row.lines[fault] = line["told"], line["spans"], line
    for fault in row.faults:
        row.requests[fault] = [one for one in requests if one[":path"].startswith(f"/{fault}/")]
    del row.requests["retried"][:1]
    return row


def verdict(spans):
    """Say what was reported: outcome, reason, phase, origin of each stream."""
    words = [[span[f"stream.{word}"] for word in ("outcome", "reason", "phase", "origin")] for span in spans]
    return " + ".join("/".join(word) for word in words) or "-"


def numbers(row):
    """Return the header fields by which the second attempt of a request differs from the first."""
    first, *later = row.requests["retried"]
    return sorted({name for one in later for name in one if one[name] != first.get(name)} - {"traceparent"})


def wrong(row):
    """Return what a row says that it is not to say."""
    found = []
    for fault in row.faults:
        if fault not in row.lines:
            found.append(f"{fault}: nothing was told; {row.log[-2000:]}")
            continue
        due, _ = expected(str(row), fault)
        said = verdict(row.spans[fault])
        if not fits(due, said):
            found.append(f"{fault}: {said}, not {due}")
        found += [f"{fault}: {what}" for what in details(row, fault)]
    return found


def details(row, fault):
    """Return what else the spans of a fault are to say, and do not."""
    dialect, line, spans = row.sdk.dialect, row.lines[fault], row.spans[fault]
    if len(spans) + line["open"] != len(row.requests[fault]):
        yield f"{len(spans)} spans of {len(row.requests[fault])} requests, {line['open']} open"
    if len(spans) > 1 and line["parents"] != 1:
        yield "the spans have no parent in common"
    if {span.get("server.address") for span in spans} - {"127.0.0.1"}:
        yield "server.address is wrong"
    if fault == "retried":
        retries = [span["stream.retry"] for span in spans]
        if retries != ["none", *["retried" if numbers(row) else "none"] * (len(spans) - 1)]:
            yield f"retries are {retries}, told by {numbers(row)}"
    if spans and spans[-1]["stream.terminal"] != "not_checked":
        yield from content(dialect, fault, spans[-1])


def content(dialect, fault, span):
    """Return what is wrong in what the span of a readable stream says of its content."""
    if fault not in LEAVING and span["stream.size"] not in sizes(fault, dialect):
        yield f"size is {span['stream.size']}, not of {sizes(fault, dialect)}"
    whole = span["stream.terminal"] == "seen"
    due = {
        "stream.dialect": dialect.name,
        "stream.finish_reason": dialect.finish if whole else span.get("stream.finish_reason"),
        "gen_ai.response.model": dialect.model,
        "gen_ai.usage.output_tokens": dialects.TOKENS if whole else dialect.meanwhile,
    }
    if fault in LEAVING:  # what has come by then is chance
        del due["gen_ai.usage.output_tokens"]
    yield from (f"{name} is {span.get(name)}, not {value}" for name, value in due.items() if span.get(name) != value)
