# Two commands do everything: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SDKS := .venv-sdks/sdks/.ready .venv-sdks/openai2/.ready
SITE := $(BIN)/sphinx-build -q -E -W --keep-going docs docs/_build/html
PIP := install --quiet --disable-pip-version-check --root-user-action=ignore -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test fuzz kill chaos load lint dashboards incident collector docs site bench peers conformance sdks clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or later, or set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make needs Python 3.11 or later, $(PYTHON) is older: set PYTHON=..." >&2; exit 1; }
	@echo "setting up .venv (once; a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip $(PIP) -e '.[dev]'
	@touch $@

demo: $(READY)  ## the whole story on this machine: faults injected, what your metrics said, what really happened (ARGS=--keep leaves it running)
	@$(BIN)/python -m demo $(ARGS)

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint  ## everything: ruff, mypy, unit tests (every branch of the pure modules), end-to-end tests with the real collector and Prometheus
	$(BIN)/python -m stack.binaries
	$(BIN)/python -m dashboards --check
	$(BIN)/python docs/generate.py --check
	$(SITE)
	$(BIN)/coverage run -m pytest tests/unit
	$(BIN)/coverage report
	$(BIN)/pytest --ignore=tests/unit $(ARGS)

fuzz: $(READY)  ## the short fuzzing of the tests, long: spoilt bodies in any cuts, at most 30 minutes (ARGS=pytest options)
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-5000} timeout 1800 $(BIN)/pytest tests/unit/test_fuzz.py $(ARGS)

dashboards: $(READY)  ## generate dashboards/out: dashboards, rules, alerts
	$(BIN)/python -m dashboards

incident: $(READY)  ## half a day of every fault in a real Prometheus, to look at: rules and alerts too (Ctrl-C ends it)
	@$(BIN)/python -m dashboards.incident

collector: $(READY)  ## generate collector/derive.yaml and the operator's resource from collector/config.yaml
	$(BIN)/python collector/write.py

docs: $(READY)  ## generate the reference pages in docs/
	$(BIN)/python docs/generate.py

site: $(READY)  ## docs/ as a site, in docs/_build/html; a link or an anchor that leads nowhere is an error
	$(SITE)

bench: .venv-sdks/bench/.ready  ## what a chunk, a request and an open stream cost, beside every other tool that installs; writes docs/performance.md (8 minutes; ARGS=--tiny only sees that all runs)
	.venv-sdks/bench/bin/python -m bench $(ARGS)

kill: $(READY)  ## 200 rounds of killing workers at random under a real server (10 minutes; ARGS="--seed N --rounds N --server gunicorn")
	$(BIN)/python -m tests.kill $(ARGS)

chaos: $(READY)  ## kill, freeze, starve the pipeline under load; holds the ledger against what was derived; writes docs/reliability.md (20 minutes; ARGS="--only collector")
	$(BIN)/python -m tests.chaos $(ARGS)

load: $(READY)  ## what one collector takes: streams a second, memory by series, the cardinality limit; writes docs/load.md (10 minutes)
	$(BIN)/python -m tests.load $(ARGS)

conformance: $(READY)  ## every server x framework x cause with real processes; writes docs/conformance.md (20 minutes; ARGS="uvicorn* fastapi" tries these alone and writes nothing)
	$(BIN)/python -m tests.conformance $(ARGS)

peers: .venv-sdks/bench/.ready  ## what every other tool tells of each end, as tried; writes docs/comparison.md (3 minutes)
	.venv-sdks/bench/bin/python -m tests.peers

.venv-sdks/%/.ready: pyproject.toml constraints.txt | $(READY)
	@echo "setting up .venv-sdks/$* (once; a minute or two)"
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip $(PIP) -e '.[$*]'
	@touch $@

sdks: $(READY) $(SDKS)  ## every LLM SDK x fault against a server that breaks off anywhere; writes docs/sdk-conformance.md (5 minutes; ARGS="anthropic*" tries these alone and writes nothing)
	$(BIN)/python -m tests.sdks $(ARGS)

clean:  ## remove the virtual environments (the cache of built binaries stays)
	rm -rf .venv .venv-sdks
