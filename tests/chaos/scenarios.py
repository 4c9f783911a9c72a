"""What is done to a pipeline under load, as data: steps, and the settings of the service meanwhile."""

from dataclasses import dataclass, field

DEFAULTS = {"OTEL_BSP_SCHEDULE_DELAY": "5000"}
"""The SDK's own: a queue of 2048 spans, looked at every 5 s, ten seconds for a batch and all of its repetitions."""
RECOMMENDED = {
    "OTEL_BSP_MAX_QUEUE_SIZE": "30000",
    "OTEL_BSP_SCHEDULE_DELAY": "1000",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "60",
}
OFTEN = ("connectors::span_metrics/streams::metrics_flush_interval: 500ms", "processors::batch/streams::timeout: 200ms")
"""A collector that hands on four times as often what it has counted."""

SIGNALS = {"killed": "KILL", "stopped": "TERM", "frozen": "STOP", "thawed": "CONT"}
ANSWERS = ("passes", "503", "hangs", "resets")


@dataclass(frozen=True)
class Scenario:
    """One disturbance.

    Attributes:
        name: As people would put it.
        steps: ``(who, what)``, or seconds to wait. Who: ``collector``, ``prometheus``, ``worker``, or ``backend``,
            which stands before Prometheus and answers in its place, or ``disk``, of the collector's queue. What: of
            `SIGNALS`, of `ANSWERS`, ``back``, ``full`` or ``free``.
        settings: Environment of the service.
        collector: What its configuration has otherwise, ``KEY::KEY: VALUE``.
        disk: Size of the file system for the collector's queue, KB; None for the ordinary one.
        shows: Words that the log of the collector or of the service must have: it has really happened.
        doubles: Whether something may be derived twice: a sender that got no answer repeats what had arrived.
        loses: Whether something may be derived of less streams than there were.
        kills: Whether a process of the service dies, and with it a collection that was under way.
    """

    name: str
    steps: tuple[tuple[str, str] | float, ...]
    settings: dict[str, str] = field(default_factory=lambda: DEFAULTS)
    collector: tuple[str, ...] = ()
    disk: int | None = None
    shows: str = ""
    doubles: bool = False
    loses: bool = False
    kills: bool = False


def down(who, how, seconds):
    """Return the steps by which a process ends, and comes back."""
    return (who, how), seconds, (who, "back")


def frozen(who, seconds):
    return (who, "frozen"), seconds, (who, "thawed")


def answering(what, seconds):
    return ("backend", what), seconds, ("backend", "passes")


_PROMETHEUS_AWAY = (
    *(("prometheus", "stopped"), 4.0),
    *down("collector", "stopped", 0.5),
    *(3.0, ("prometheus", "back")),
)

SCENARIOS = (
    Scenario("nothing, three workers send at once", (5.0,)),
    Scenario("collector: kill -9, back after 5 s", down("collector", "killed", 5.0), loses=True),
    Scenario("collector: SIGTERM, back after 5 s", down("collector", "stopped", 5.0), loses=True),
    Scenario("collector: SIGTERM, flushes each 0.5 s", down("collector", "stopped", 5.0), collector=OFTEN, loses=True),
    Scenario("collector: away for 20 s, SDK's defaults", down("collector", "killed", 20.0), loses=True),
    Scenario("collector: away for 20 s, recommended", down("collector", "killed", 20.0), RECOMMENDED, loses=True),
    Scenario("collector: frozen for 20 s, SDK's defaults", frozen("collector", 20.0), loses=True, doubles=True),
    Scenario("collector: frozen for 20 s, recommended", frozen("collector", 20.0), RECOMMENDED, doubles=True),
    Scenario("Prometheus: kill -9, back after 5 s", down("prometheus", "killed", 5.0)),
    Scenario("Prometheus: SIGTERM, back after 5 s", down("prometheus", "stopped", 5.0)),
    Scenario("Prometheus: frozen for 20 s", frozen("prometheus", 20.0)),
    Scenario("Prometheus away, collector restarted meanwhile", _PROMETHEUS_AWAY, loses=True),
    Scenario(
        "Prometheus away for 20 s, queue on a disk that is full",
        (("prometheus", "stopped"), ("disk", "full"), 20.0, ("disk", "free"), ("prometheus", "back")),
        disk=2000,
        shows="no space left on device",
    ),
    Scenario("backend answers 503 for 8 s", answering("503", 8.0), shows="Exporting failed"),
    Scenario("backend hangs for 8 s", answering("hangs", 8.0), shows="Exporting failed"),
    Scenario("backend resets for 8 s", answering("resets", 8.0), shows="Exporting failed"),
    Scenario("worker: kill -9", (("worker", "killed"), 3.0), kills=True, loses=True),
    Scenario(
        "a span queue of 64 that is looked at every 5 s",
        (8.0,),
        {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64", "OTEL_BSP_SCHEDULE_DELAY": "5000"},
        shows="Queue full",
        loses=True,
    ),
)
SHORT = Scenario(
    "collector killed, then Prometheus",
    (*down("collector", "killed", 1.0), 2.0, *down("prometheus", "killed", 1.0), 1.0),
    {"OTEL_BSP_SCHEDULE_DELAY": "200"},
    loses=True,
)
"""That of ``make test``: spans come at once, so that a collector holds some whenever it is killed."""
