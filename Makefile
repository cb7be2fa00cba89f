PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help install run test lint lowest sources docs ui viz serve bench lock

# Scripts of an environment name the place where it was made: after the project was moved or copied it is made anew.
ifneq ($(shell cat $(INSTALLED) 2> /dev/null),$(CURDIR))
.PHONY: $(INSTALLED)
CLEAR := --clear
endif

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(INSTALLED) ## the environment, in .venv

# uv installs the whole stack in seconds where pip takes minutes. Unlike pip it leaves compiling to the first import, or,
# where PYTHONDONTWRITEBYTECODE is set as in many containers, to each: what commands import is compiled here.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python >= 3.11 is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	@if [ -e .venv ] && ! [ -w .venv ]; then echo ".venv: belongs to $$(stat -c %U .venv 2> /dev/null || echo another user) and is to be changed; clone the project for yourself" >&2; exit 1; fi
	$(PYTHON) -m venv $(CLEAR) .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import glow_pipeline.settings, glow_pipeline.pipeline_registry, \
		kedro.framework.cli, mlflow.store.tracking.sqlalchemy_store, sklearn.metrics'
	@pwd -P > $@

run: $(INSTALLED) ## ingest, train, sample and score the bundled digits
	$(BIN)/kedro run --env digits

# A file's tests stay in one process, for its fixtures; files are started in tests/conftest.py's order, longest first.
# Bytecode is kept even where PYTHONDONTWRITEBYTECODE is set: without it each process compiles all tests, for ten seconds.
# Threads that wait for each other sleep: two processes share the cores, and each one's spinning would slow the other.
PYTEST := OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test: lint all-tests ## every check that a change has to pass, in about eight minutes on two cores

.PHONY: all-tests
all-tests: $(INSTALLED)
	$(PYTEST)

.PHONY: quick
quick: $(INSTALLED) ## the tests that run no pipeline, command or server, in about two minutes
	$(BIN)/ruff check .
	$(PYTEST) -m "not slow and not gpu and not pipeline"

lint: $(INSTALLED) ## format, style, types, and which module may import which
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

sources: $(INSTALLED) ## the datasets, with their sizes, classes and what is on disk
	@$(BIN)/python -m glow_pipeline.images.sources.listing data/01_raw

# NO_MKDOCS_2_WARNING: the theme prints half a page about a MkDocs that is not installed.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

docs: $(INSTALLED) ## the documentation as a site in build/site; before it the tables and the picture in docs/, and comments in conf/base
	$(BIN)/python -m glow_pipeline.parameters.documentation .
	$(BIN)/python -m glow_pipeline.images.sources.documentation .
	$(BIN)/python docs/hooks/architecture.py .
	$(BIN)/python benchmarks/make_tables.py --write
	$(BIN)/python docs/hooks/presets.py .
	$(MKDOCS) build # without --quiet, which also silences the warnings that --strict counts
	@echo "open build/site/index.html in a browser, or, with the search, make site: http://127.0.0.1:$(or $(PORT),8000)"

.PHONY: site
site: PORT = 8000
site: docs ## look at that site, at PORT (8000) of 127.0.0.1
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site $(PORT)

.PHONY: clean-data
clean-data: $(INSTALLED) ## what is stored in data/, with sizes and what needs it; removes nothing, and says how to
	$(BIN)/kedro versions

# exec, so that the signal that ends make ends the server.
ui: PORT = $(or $(UI_PORT),5000)
ui: $(INSTALLED) ## compare runs in the browser (MLflow), at PORT (5000) of 127.0.0.1; prints the pages to begin with
	@UI_PORT=$(PORT) exec $(BIN)/python -m glow_pipeline.ui

# exec, so that the signal that ends make ends the server.
viz: PORT = 4141
viz: $(INSTALLED) ## the pipelines as a picture in the browser (Kedro-Viz), with the newest results or those of PARAMS, at PORT (4141)
	exec $(BIN)/kedro draw --port $(PORT) $(if $(PARAMS),--params "$$PARAMS")

DATASET ?= digits
WORKERS ?= 1
serve: PORT = 5001
serve: $(INSTALLED) ## verdicts over HTTP, of the newest model of DATASET (digits), at PORT (5001) of 127.0.0.1
	$(BIN)/kedro serve --params dataset=$(DATASET) --port $(PORT) --workers $(WORKERS)

bench: $(INSTALLED) ## speed beside public libraries, of input, start-up and ingest
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c requirements.lock -e '.[bench]'
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/input.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/ingest.py

.PHONY: results
results: $(INSTALLED) ## the tables of docs/results: computes rows that are missing, of TABLE and ROWS alone where they are given; takes hours
	$(BIN)/python benchmarks/make_tables.py $(TABLE) $(if $(ROWS),--rows $(ROWS))

lowest: $(INSTALLED) ## the tests of a command with the lowest versions that pyproject.toml allows, in an environment of its own
	$(BIN)/uv venv --quiet --clear --python "$$($(BIN)/python -c 'import sys; print(sys.executable)')" build/lowest
	$(BIN)/uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct --editable '.[dev]'
	build/lowest/bin/python -m pytest --disable-warnings tests/end_to_end/test_commands.py tests/flow tests/hooks tests/parameters tests/pipelines tests/test_*.py

lock: $(INSTALLED) ## resolve pyproject.toml anew, for every platform
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --extra dev pyproject.toml --output-file requirements.lock
