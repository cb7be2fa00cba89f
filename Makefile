PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help install run test lint sources ui viz bench lock

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 10

install: $(INSTALLED) ## the environment, in .venv

# uv installs the whole stack in seconds where pip takes minutes. Unlike pip it leaves compiling to the first import, or,
# where PYTHONDONTWRITEBYTECODE is set as in many containers, to each: what commands import is compiled here.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python >= 3.11 is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import glow_pipeline.settings, glow_pipeline.pipeline_registry, \
		kedro.framework.cli, mlflow.store.tracking.sqlalchemy_store, sklearn.metrics'
	@touch $@

run: $(INSTALLED) ## ingest, train, sample and score the bundled digits
	$(BIN)/kedro run --env digits

test: $(INSTALLED) lint ## every check that a change has to pass
	$(BIN)/python -m pytest

lint: $(INSTALLED) ## format, style, types, and which module may import which
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

sources: $(INSTALLED) ## the datasets, with their sizes, classes and what is on disk
	@$(BIN)/python -m glow_pipeline.images.listing data/01_raw

ui: $(INSTALLED) ## compare runs in the browser (MLflow)
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1

viz: $(INSTALLED) ## the pipelines as a picture in the browser (Kedro-Viz)
	$(BIN)/kedro viz run --host 127.0.0.1

bench: $(INSTALLED) ## speed beside public libraries, of input, start-up and ingest
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c requirements.lock -e '.[bench]'
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/input.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/ingest.py

lock: ## resolve pyproject.toml anew, for every platform
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate --extra dev pyproject.toml --output-file requirements.lock
