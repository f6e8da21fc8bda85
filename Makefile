# The two commands of the README; each installs everything that it needs:
#   make demo    places a call, on a machine with nothing but Python 3.11
#   make test    runs the whole suite, under both runners
# The main commands of CONTRIBUTING.md:
#   make docs    generates .env.example and the tables of settings and commands
#   make check   runs lint, types and the unit tests of what changed
#   make long    runs the big suites in full, at most an hour; make short: as in CI

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
AGENT ?= simulator
WAV ?=
STREAM ?= /stream
CARRIER ?= websocket
TRANSPORT ?= websocket

# Each program starts many others, and none of them should compile the sources again.
unexport PYTHONDONTWRITEBYTECODE

SOURCES = setup.cfg pyproject.toml $(shell find chime_gateway twisted -type f ! -name '*.pyc' ! -name dropin.cache)

.PHONY: environment demo test coverage mutants check lint types package docs bench bench-docs bench-setups bench-kinesis bench-takeover bench-tools long short soak dialogs chaos failovers rollovers attack kept webrtc clean

# A normal installation, as users have it, so that twistd finds the plugin.  build/ is
# removed because files that an earlier build left there would be installed again.
$(VENV)/.installed: $(SOURCES)
	@echo "Installing into $(VENV); the first time takes a minute or two."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	rm -rf build
	$(BIN)/python -m pip install --disable-pip-version-check --upgrade .
	touch $@

$(VENV)/.test: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	rm -rf build
	$(BIN)/python -m pip install --quiet --upgrade ".[test]"
	touch $(VENV)/.installed $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/python -m pip install --quiet ".[dev]"
	touch $@

# All extras in one installation, which is faster than one after the other.
$(VENV)/.all: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	rm -rf build
	$(BIN)/python -m pip install --quiet --no-compile --upgrade ".[test,dev,bench]"
	# pip compiles on one processor, this uses all; some files are for other Python versions.
	-$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1
	touch $(VENV)/.installed $(VENV)/.test $(VENV)/.dev $(VENV)/.bench $(VENV)/.long $(VENV)/.tools $@

environment: $(VENV)/.all

# The requirements of make check.  In the checkout its sources take precedence over an
# installed package, so only changed requirements need another installation.
$(VENV)/.tools: setup.cfg
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	rm -rf build
	$(BIN)/python -m pip install --quiet ".[test,dev]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/chimegw demo --agent $(AGENT) --carrier $(CARRIER) --transport $(TRANSPORT) --path $(STREAM) $(if $(WAV),--wav $(WAV))

test: $(VENV)/.test
	$(BIN)/python tests/run.py

# The unit tests alone, and the lines and branches of a call that they do not run.
UNIT_TESTS = $(shell find tests -name 'test_*.py' ! -path 'tests/integration/*')
coverage: $(VENV)/.test
	$(BIN)/python tests/cover.py --missing -q $(UNIT_TESTS)

# Mutation testing of a sample.
mutants: $(VENV)/.test
	$(BIN)/python -m tests.mutants $(MUTANTS)

check: $(VENV)/.tools
	$(BIN)/python tests/check.py

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy -p chime_gateway -p tests
	MYPYPATH=benchmarks $(BIN)/mypy suites/*.py benchmarks/*.py
	$(BIN)/mypy docs/generate.py examples/tool_server.py examples/webhook_receiver.py

# The documentation of settings and commands, generated from the program.
docs: $(VENV)/.test
	PYTHONPATH=. $(BIN)/python docs/generate.py

# Builds a wheel, installs it into an empty environment and uses it from another folder.
package: $(VENV)/.dev
	sh tests/package.sh $(BIN)/python

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet ".[bench]"
	touch $@

# The Node sample is one of the rows if Node is installed.
bench: $(VENV)/.bench
	if command -v npm >/dev/null; then cd benchmarks && npm install --silent --no-audit --no-fund --no-package-lock; fi
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/run.py $(BENCH)

# The tables of docs/benchmarks.md and the figures of the README, from the last run.
RESULTS ?= benchmarks/results/latest.json
bench-docs: $(VENV)/.bench
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/table.py $(RESULTS) --write

bench-setups: $(VENV)/.bench
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/setups.py $(BENCH)

bench-kinesis: $(VENV)/.bench
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/kinesis.py $(BENCH)

bench-takeover: $(VENV)/.bench
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/takeover.py $(BENCH)

bench-tools: $(VENV)/.bench
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/tools.py $(BENCH)

# A WebRTC stack in JavaScript; its install scripts are not run.
suites/node_modules: suites/package.json
	if command -v npm >/dev/null; then cd suites && npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts && touch node_modules; fi

# The suites share servers with the tests; PostgreSQL and Chromium come from the system.
$(VENV)/.long: $(VENV)/.test $(VENV)/.bench
	touch $@

long: $(VENV)/.long suites/node_modules
	$(BIN)/python suites/all.py $(SUITES)

short: $(VENV)/.long
	$(BIN)/python suites/all.py --short -j 2 $(SUITES)

soak: $(VENV)/.long
	PYTHONPATH=benchmarks:. $(BIN)/python suites/soak.py --minutes 20 $(SOAK)

dialogs: $(VENV)/.long
	PYTHONPATH=benchmarks:. $(BIN)/python suites/dialogs.py $(DIALOGS)

failovers: $(VENV)/.long
	PYTHONPATH=benchmarks:. $(BIN)/python suites/failovers.py $(FAILOVERS)

rollovers: $(VENV)/.long
	PYTHONPATH=benchmarks:. $(BIN)/python suites/rollovers.py $(ROLLOVERS)

chaos: $(VENV)/.long
	PYTHONPATH=benchmarks:. $(BIN)/python suites/chaos.py $(CHAOS)

attack: $(VENV)/.long
	PYTHONPATH=benchmarks:. $(BIN)/python suites/attack.py $(ATTACK)

kept: $(VENV)/.long
	PYTHONPATH=benchmarks:. $(BIN)/python suites/kept.py $(KEPT)

webrtc: $(VENV)/.long suites/node_modules
	PYTHONPATH=benchmarks:. $(BIN)/python suites/webrtc.py $(WEBRTC)

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .hypothesis .mypy_cache .ruff_cache .pytest_cache
