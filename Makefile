# The two commands of the README, each doing all its own set-up:
#   make demo    the main job, on a machine with nothing but Python 3.11
#   make test    the whole suite, under both runners

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
AGENT ?= simulator
WAV ?=
STREAM ?= /stream
CARRIER ?= websocket

SOURCES = setup.cfg pyproject.toml $(shell find chime_gateway twisted -name '*.py' -o -name '*.wav' -o -name '*.toml')

.PHONY: demo test lint types package bench bench-kinesis bench-tools bench-kept soak clean

# The package is installed as its users have it, so that twistd finds the plugin.
$(VENV)/.installed: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade .
	touch $@

$(VENV)/.test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet ".[test]"
	touch $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/python -m pip install --quiet ".[dev]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/chimegw demo --agent $(AGENT) --carrier $(CARRIER) --path $(STREAM) $(if $(WAV),--wav $(WAV))

test: $(VENV)/.test
	$(BIN)/python tests/run.py

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy -p chime_gateway -p tests

# A wheel in an empty environment, used from another folder.
package: $(VENV)/.dev
	sh tests/package.sh $(BIN)/python

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet ".[bench]"
	touch $@

bench: $(VENV)/.bench
	if command -v npm >/dev/null; then cd benchmarks && npm install --silent --no-audit --no-fund --no-package-lock; fi
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/run.py $(BENCH)

bench-kinesis: $(VENV)/.bench
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/kinesis.py $(BENCH)

bench-tools: $(VENV)/.bench
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/tools.py $(BENCH)

# PostgreSQL is taken from the system.
bench-kept: $(VENV)/.bench
	$(BIN)/python -m pip install --quiet ".[postgresql]"
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/kept.py $(BENCH)

soak: $(VENV)/.bench
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/soak.py $(SOAK)

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .hypothesis .mypy_cache .ruff_cache .pytest_cache
