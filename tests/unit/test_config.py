"""Settings read from the environment."""

from dataclasses import FrozenInstanceError, fields

import pytest

from otel_streaming._config import PREFIX, Globs, PerRoute, Settings, read_settings
from otel_streaming._dialects import Declared


def read(**values):
    """Read the settings, which must be good."""
    settings, problems = read_settings({PREFIX + name: value for name, value in values.items()})
    assert problems == []
    return settings


GOOD = [
    *(("SPANS", word, word) for word in ("all", "bad", "sampled", "off")),
    ("SPANS", " Bad ", "bad"),
    *(("LOGS", word, word) for word in ("bad", "all", "off")),
    ("METRICS", "all", "all"),
    *(("STATE_DIR", text, text.strip().lower()) for text in ("off", "auto", " Off ", "/var/lib/x", "~/x")),
    *(("MARK_PARENT", word, True) for word in ("on", "true", "1", "ON")),
    *(("MARK_PARENT", word, False) for word in ("off", "false", "0")),
    ("MODEL_NAMES", "off", False),
    ("CAPTURE_FINISH_REASON", "off", False),
    ("CHUNK_EVENTS", "0", 0),
    ("CHUNK_EVENTS", "96", 96),
    ("MAX_ROUTES", "1", 1),
]


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_good_values(name, text, value):
    """A value the documentation allows is taken, white space and case aside."""
    assert getattr(read(**{name: text}), name.lower()) == value


BAD = [
    ("SPANS", "some", "one of all, bad, sampled, off", "all"),
    ("LOGS", "yes", "one of bad, all, off", "bad"),
    ("METRICS", "sometimes", "one of ledger, all", "ledger"),
    ("MARK_PARENT", "maybe", "one of on, off", "on"),
    ("MODEL_NAMES", "2", "one of on, off", "on"),
    ("CAPTURE_FINISH_REASON", "y", "one of on, off", "on"),
    *(("STATE_DIR", text, "a folder's absolute path", "auto") for text in ("on", "var/lib", "~x")),
    ("CHUNK_EVENTS", "97", "a whole number from 0 to 96", "0"),
    ("CHUNK_EVENTS", "-1", "a whole number from 0 to 96", "0"),
    ("CHUNK_EVENTS", "1.5", "a whole number from 0 to 96", "0"),
    ("CHUNK_EVENTS", "9" * 5000, "a whole number from 0 to 96", "0"),
    ("MAX_ROUTES", "0", "a whole number from 1", "200"),
    ("MAX_ROUTES", "many", "a whole number from 1", "200"),
    *(("STALL_THRESHOLD", text, "seconds above 0", "10") for text in ("0", "-1", "nan", "inf", "soon", "/a=", "=5")),
    ("EXCLUDED_URLS", "(", "comma-separated regular expressions", ""),
    ("EXCLUDED_URLS", "[[a]", "comma-separated regular expressions", ""),  # a warning, which is an error here
    *(
        ("TERMINALS", text, "GLOB=event:NAME", "")
        for text in ("/a", "/a=done", "/a=event:", "=event:done", "/a=json:done", "/a=xml:done")
    ),
]


@pytest.mark.parametrize(("name", "text", "allowed", "default"), BAD, ids=lambda v: v[:20])
def test_bad_values_are_reported_and_the_default_used(name, text, allowed, default):
    """A bad value is reported in one sentence: variable, value, default, what is allowed."""
    settings, problems = read_settings({PREFIX + name: text})
    (problem,) = problems
    assert PREFIX + name in problem
    assert text[:200] in problem
    assert repr(default) in problem
    assert allowed in problem
    if not isinstance(getattr(settings, name.lower()), Globs | PerRoute):
        assert getattr(settings, name.lower()) == getattr(Settings(), name.lower())


def test_a_bad_threshold_or_terminal_leaves_the_default():
    """One bad part makes the whole value bad: no half of it is in force."""
    settings, problems = read_settings(
        {PREFIX + "STALL_THRESHOLD": "/a=3,b=x", PREFIX + "TERMINALS": "/a=event:x;/b=y"}
    )
    assert len(problems) == 2
    assert settings.stall_threshold.get("/a") == 10.0
    assert settings.terminals.get("/a") is None


@pytest.mark.parametrize("name", [field.name.upper() for field in fields(Settings)])
def test_empty_values_mean_the_default(name):
    """An empty variable, which shells and compose files leave behind, is the default and no problem."""
    settings, problems = read_settings({PREFIX + name: "  "})
    assert problems == []
    value = getattr(settings, name.lower())
    assert isinstance(value, Globs | PerRoute) or value == getattr(Settings(), name.lower())


def test_unknown_names_are_reported():
    """A misspelt variable is named, together with those there are; other people's variables are not."""
    _, problems = read_settings({PREFIX + "STALL_TRESHOLD": "5", "OTEL_PYTHON_LOG_LEVEL": "info", "PATH": "/bin"})
    (problem,) = problems
    assert PREFIX + "STALL_TRESHOLD" in problem
    assert PREFIX + "STALL_THRESHOLD" in problem


def test_several_problems_are_all_reported():
    """Each bad value gets its own sentence."""
    assert len(read_settings({PREFIX + "SPANS": "x", PREFIX + "LOGS": "x", PREFIX + "NO": "x"})[1]) == 3


def test_settings_are_immutable():
    """Settings cannot be changed after they were read."""
    with pytest.raises(FrozenInstanceError):
        Settings().spans = "off"


def test_route_globs():
    """A glob's asterisk takes slashes too; any of several globs and any of several names may match."""
    globs = read(ROUTES="/chat/*, /v1/*/stream").routes
    assert globs.match("/chat/a/b")
    assert globs.match("/other", "/v1/x/y/stream")
    assert globs.match(None, "/chat/")
    assert not globs.match("/chat", None)
    assert not globs.match("/x/chat/a")
    assert not globs.match()


def test_no_globs_match_nothing():
    """Without globs nothing is configured."""
    globs = Globs()
    assert not globs
    assert not globs.match("/chat")
    assert read(ROUTES="/a")


def test_a_glob_is_no_regular_expression():
    """Braces and dots of route templates stand for themselves."""
    globs = Globs("/items/{id}.json")
    assert globs.match("/items/{id}.json")
    assert not globs.match("/items/{id}xjson")


def test_thresholds_by_route():
    """The first matching glob gives the threshold, else the bare number, else 10 s."""
    thresholds = read(STALL_THRESHOLD="/feed/*=60, /feed/slow=90, 2.5").stall_threshold
    assert thresholds.get("/feed/slow") == 60.0
    assert thresholds.get("/chat") == 2.5
    assert read(STALL_THRESHOLD="/a=1").stall_threshold.get("/b") == 10.0


def test_thresholds_know_which_routes_are_named():
    """A subscription has a stall threshold only if a glob names its route."""
    thresholds = read(STALL_THRESHOLD="/feed/*=60,5").stall_threshold
    assert thresholds.named("/feed/x")
    assert not thresholds.named("/chat", None)


TERMINALS = [
    ("event:done", Declared("event", "done")),
    ("data:[END]", Declared("data", "[END]")),
    ("json:status=done", Declared("json", "status=done")),
    ("none", Declared("none")),
]


@pytest.mark.parametrize(("text", "declared"), TERMINALS)
def test_terminals_by_route(text, declared):
    """Each way of declaring a terminal marker is read, white space aside."""
    terminals = read(TERMINALS=f" /x=event:y ; /chat* = {text} ").terminals
    assert terminals.get("/chat/1") == declared
    assert terminals.get("/other") is None


def test_excluded_urls():
    """Regular expressions of paths are searched, any of them."""
    excluded = read(EXCLUDED_URLS="^/health, metrics$").excluded_urls
    assert excluded.search("/health/live")
    assert excluded.search("/a/metrics")
    assert not excluded.search("/chat")


@pytest.mark.parametrize("text", [",", " , "])
def test_separators_alone_exclude_nothing(text):
    """A list without entries excludes no path."""
    excluded = read(EXCLUDED_URLS=text).excluded_urls
    assert excluded is None or not excluded.search("/chat")


def test_excluded_urls_of_all_instrumentations():
    """The variable all Python instrumentations share is used, unless ours is set."""
    shared = {"OTEL_PYTHON_EXCLUDED_URLS": "health"}
    assert read_settings(shared)[0].excluded_urls.pattern == "health"
    assert read_settings({**shared, PREFIX + "EXCLUDED_URLS": "mine"})[0].excluded_urls.pattern == "mine"


def test_a_bad_shared_exclusion_is_reported():
    """A bad value of the shared variable is reported with its value, and excludes nothing."""
    settings, (problem,) = read_settings({"OTEL_PYTHON_EXCLUDED_URLS": "("})
    assert settings.excluded_urls is None
    assert "OTEL_PYTHON_EXCLUDED_URLS" in problem
    assert "'('" in problem


def test_every_setting_says_what_it_does():
    """Every setting has a brief for the documentation, and its default text reads as its default."""
    for field in fields(Settings):
        assert field.metadata["brief"]
        field.metadata["parse"](field.metadata["text"])
