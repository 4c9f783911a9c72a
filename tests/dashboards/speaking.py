"""Which panel speaks in which phase of the incident, and from where on it does; and which follow the traffic."""

from dashboards import incident

PHASES = {phase.name: phase for phase in incident.PHASES if phase.name != "quiet"}
QUIET = incident.PHASES[-1]
BURST, CUT, LIMIT, STALLS, SLOW, BLANK, MASKED, KILLED, DEPLOY, SUBSCRIPTIONS, NIGHT, UNKNOWN, LOSSY, MUTE = PHASES
FAILING = {BURST, CUT, BLANK, MASKED, KILLED, NIGHT, LOSSY}
"""Phases with any failure at all."""

SPEAKS = {
    # By panel and query: from where on it speaks, and in which phases it does. Below where a good number is high.
    "stream-overview": {
        ("Failed", "A"): (0.001, {BURST, CUT, BLANK, MASKED, KILLED, LOSSY}),
        ("What your 5xx panel says", "A"): (0.001, {BURST, LOSSY}),
        ("Hidden share", "A"): (0.5, {CUT, BLANK, MASKED, KILLED, NIGHT}),
        ("Cut short", "A"): (0.001, {CUT, BLANK, MASKED, KILLED}),
        ("Gave up", "A"): (0.01, {STALLS, BLANK}),
        ("Stalled now", "A"): (1, {STALLS, SUBSCRIPTIONS}),
        ("Open streams", "A"): (85, {STALLS, SLOW}),
        ("Firing alerts", "A"): (1, PHASES.keys() - {DEPLOY, SUBSCRIPTIONS, NIGHT}),
        ("Failures by cause, on one axis", "A"): (0.1, {BURST, CUT, BLANK, MASKED, LOSSY}),
        ("Failures by cause, on one axis", "B"): (1, {STALLS}),
        ("Failures by cause, on one axis", "C"): (0.1, {LOSSY}),
        ("Failures by cause, on one axis", "D"): (5, {LIMIT}),
        ("What users saw, and what your 5xx panel says", "A"): (0.001, {BURST, CUT, BLANK, MASKED, LOSSY}),
        ("What users saw, and what your 5xx panel says", "B"): (0.001, {BURST, LOSSY}),
        ("Routes, worst first", "B"): (0.001, FAILING),
        ("Routes, worst first", "C"): (0.01, {BURST, LOSSY}),
        ("Routes, worst first", "D"): (0.001, {CUT, BLANK, MASKED, KILLED}),
        ("Routes, worst first", "E"): (0.02, {STALLS}),
        ("Routes, worst first", "F"): (0.02, {BLANK}),
        ("Routes, worst first", "G"): (0.02, {STALLS, BLANK}),
        ("Routes, worst first", "H"): (5, {SLOW}),
        ("Time to first chunk", "B"): (5, {SLOW}),
        ("Longest silence", "A"): (10, {STALLS}),
        ("Duration", "B"): (40, {LIMIT, STALLS}),
        ("Interrupted at a usual limit", "C"): (10, {LIMIT}),
    },
    "stream-slo": {
        ("As users saw it", "A"): (-0.999, {BURST, CUT, BLANK, MASKED, KILLED, LOSSY}),
        ("By 5xx only", "A"): (-0.999, {BURST, LOSSY}),
        ("Gave-up counted", "A"): (-0.999, {BURST, CUT, STALLS, BLANK, MASKED, KILLED, LOSSY}),
        ("Burn rate, last hour", "A"): (1, {BURST, CUT, BLANK}),
        ("Burn rates", "A"): (1, {BURST, CUT, BLANK}),
        ("Routes by budget", "B"): (10, {BURST, NIGHT}),
        ("Budget spent, by cause", "A"): (0.01, FAILING),
        ("Budget spent, by cause", "B"): (0.01, FAILING),
        ("Three ways to count availability", "A"): (-0.999, {BURST, LOSSY}),
        ("Three ways to count availability", "B"): (-0.999, {BURST, CUT, BLANK, MASKED, LOSSY}),
        ("Three ways to count availability", "C"): (-0.999, {BURST, CUT, STALLS, BLANK, MASKED, LOSSY}),
        ("Failures per stream-hour", "A"): (1, {SUBSCRIPTIONS}),
        ("Time stalled", "A"): (0.01, {SUBSCRIPTIONS}),
    },
    "stream-flow": {
        ("Stalled, of a thousand streams", "A"): (1, {STALLS}),
        ("Longest silence, live", "A"): (10, {STALLS}),
        ("Interrupted at a usual limit", "C"): (10, {LIMIT}),
        ("Wasted tokens", "A"): (1, {CUT, MASKED, KILLED, NIGHT}),
        ("By protocol and dialect", "B"): (0.001, FAILING),
        ("By protocol and dialect", "C"): (-0.995, {BURST, CUT, BLANK, MASKED, NIGHT, LOSSY}),
    },
    "stream-forensics": {
        ("Failures by cause", "A"): (0.1, {BURST, CUT, BLANK, MASKED, LOSSY}),
        ("Failures by who ended them", "A"): (0.1, {BURST, CUT, BLANK, MASKED, LOSSY}),
        ("Where, why, by whom", "A"): (1, FAILING),
        ("Behind a clean end", "A"): (0.001, {MASKED}),
        ("What this service reads, by upstream", "B"): (0.01, {CUT, MASKED}),
        ("How upstreams fail", "A"): (1, {CUT, MASKED}),
        ("What the proxies in front saw", "A"): (2, {LIMIT}),
    },
    "stream-trust": {
        ("Vanished", "A"): (1, {KILLED, MUTE}),
        ("Lost telemetry", "A"): (0.1, {LOSSY}),
        ("Ended unknown", "A"): (0.01, {UNKNOWN}),
        ("Too many routes", "A"): (0.001, set()),
        ("Overflowing series", "A"): (1, set()),
        ("Processes", "A"): (-5.5, {MUTE}),
        ("Began and ended", "A"): (-100, {MUTE}),
        ("Lost telemetry over time", "A"): (0.1, {LOSSY}),
        ("Told twice", "A"): (0.01, set()),
        ("Services and their witnesses", "C"): (0.1, {LOSSY}),
        ("Services and their witnesses", "D"): (0.01, set()),
        ("Services and their witnesses", "E"): (0.01, {UNKNOWN}),
        ("Collector: refused, not handed on", "A"): (0.1, {LOSSY}),
        ("Collector: refused, not handed on", "B"): (0.1, {LOSSY}),
        ("Collector: queue", "A"): (0.5, {LOSSY}),
    },
}

NEUTRAL = {
    # What follows the traffic, or sums up all that was before: drawn at all times.
    *(("stream-overview", title) for title in ("Budget left", "Gaps between chunks", "Open streams by state")),
    *(("stream-slo", title) for title in ("Budget left", "Burn rate, three days", "Open subscriptions")),
    *(("stream-flow", title) for title in ("Time to first chunk", "Gaps between chunks", "Open streams by state")),
    *(("stream-flow", title) for title in ("Bytes per second", "Chunks per second", "Wasted bytes", "Wasted time")),
    *(("stream-flow", title) for title in ("Streams that arrived in one burst", "Further attempts")),
    *(("stream-flow", title) for title in ("Streams by protocol", "Streams by dialect")),
    *((uid, "Age of streams when they are interrupted") for uid in ("stream-overview", "stream-flow")),
    *(("stream-trust", title) for title in ("Series by metric", "Processes by service")),
}
