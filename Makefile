# The only set-up: Python 3.11 or later, make and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
BENCH_STAMP = $(VENV)/.installed-bench

DOCS_STAMP = $(VENV)/.installed-docs
DEMO_STAMP = $(VENV)/.installed-demo
PIP = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: demo test coverage long lint types bench docs packages stubs clean

# Without pip, which takes as long as everything that the demo needs; the rules below add it where it is missing.
$(BIN)/python:
	@echo "creating $(VENV)"
	$(PYTHON) -m venv --without-pip $(VENV)

# The demo needs the command line and nothing that only developers need, installed by the machine's pip if that can reach
# another Python. What is not compiled here is compiled when it is first imported.
$(DEMO_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@$(PYTHON) -m pip --python $(BIN)/python --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@pip="$(BIN)/python -m pip"; $$pip --version >/dev/null 2>&1 || pip="$(PYTHON) -m pip --python $(BIN)/python"; \
		$$pip install --no-compile --disable-pip-version-check -c constraints.txt -e ".[cli]"
	touch $@

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	$(PIP) -e ".[dev]"
	touch $@

$(BENCH_STAMP): $(STAMP)
	$(PIP) -e ".[bench,speedups]"
	touch $@

$(DOCS_STAMP): $(STAMP)
	$(PIP) -e ".[docs]"
	touch $@

demo: $(DEMO_STAMP)  ## migrate a sample export into a local sandbox
	$(BIN)/hl-async demo

# Most tests wait for sockets and timers: eight processes keep two cores busy.
WORKERS ?= 8
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# The programs that tests start need not compile the package again, whatever the environment says.
test coverage long: export PYTHONDONTWRITEBYTECODE =
test: $(STAMP)  ## every promise, the slow ones in short forms
	$(PYTEST) -m "not long" $(ARGS)

# Apart from test, because Python 3.11 runs everything slower while it traces.
coverage: $(STAMP)  ## the branches that the tests take, with the gate
	$(PYTEST) -m "not long and not untraced" --cov --cov-report=term --cov-fail-under=$(COVERAGE) $(ARGS)

long: $(STAMP)  ## the long forms: more seeds, more kills, more calls
	$(PYTEST) -m long $(ARGS)

lint: $(STAMP)  ## ruff, mypy strict, layer contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

types: $(STAMP)  ## pyright over public names, README, docs and examples
	$(BIN)/python .ci/types

bench: $(BENCH_STAMP)  ## every benchmark, as ratios against its bar
	$(BIN)/python -m benchmarks

docs: $(DOCS_STAMP)  ## the documentation, warnings are errors; open build/docs/index.html
	$(BIN)/python -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/docs

stubs: $(STAMP)  ## the type stub of hl_async.sync, from the signatures of hl_async
	$(BIN)/python .ci/sync_stub.py

packages: $(STAMP)  ## wheel and sdist, proved alone on every extra and with the lowest versions
	$(BIN)/python .ci/packages

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .coverage*

COVERAGE ?= 95
