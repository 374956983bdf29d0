# Everything that a person or CI runs. Each target first sets up what it needs; a second run installs nothing.

BIN := .venv/bin
# Most of a test is waiting for other processes, so there is room for more than one a processor.
WORKERS ?= 3
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test fuzz check audit bench bench-cluster up down format lock python packages

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | column -t -s "$$(printf '\t')"

demo: packages python ## from git push to running containers and back, on this machine
	@$(BIN)/python -m console.demo

test: packages python ## the whole test suite, in WORKERS processes; ARGS="-k name" for a part of it
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

fuzz: packages python ## 10,000 inputs for each reader of what comes from outside, new ones in each run; the suite runs a few
	@$(BIN)/python -m pytest --hypothesis-profile=fuzz --timeout 900 tests/fuzz $(ARGS)

check: python ## format, lint, types, module boundaries, module length, audit of the locked packages
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports
	@.ci/modules
	@$(BIN)/python .ci/audit

audit: python ## ask the package index for known vulnerabilities of what is locked, and store what it says
	@$(BIN)/python .ci/audit --ask

bench: packages python ## measure; FIGURE=name for one figure
	@$(BIN)/python -m tests.bench $(FIGURE)

bench-cluster: packages python ## measure on the kit's Kubernetes, which must be up; FIGURE=name for one figure
	@.ci/setup load || true # the figures that want it say so
	@$(BIN)/python -m tests.bench_cluster $(FIGURE)

up: packages python ## start Enclii here, in the background
	@$(BIN)/enclii up -d

down: ## stop what was started; PURGE=1 leaves nothing but the Debian packages
	@.ci/down $(if $(filter-out 0 no false,$(PURGE)),--purge)

format: python ## rewrite the code in the project's format
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

lock: ## resolve requirements.lock again
	@.ci/lock

python:
	@.ci/setup python

packages:
	@.ci/setup packages
