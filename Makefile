# Everything that a person or CI runs. Each target first sets up what it needs; a second run installs nothing.

BIN := .venv/bin
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-cluster up down format lock python packages

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | column -t -s "$$(printf '\t')"

demo: packages python ## from git push to running containers and back, on this machine
	@$(BIN)/python -m console.demo

test: packages python ## the whole test suite; ARGS="-k name" for a part of it
	@$(BIN)/python -m pytest $(ARGS)

check: python ## format, lint, types, module boundaries, module length
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports
	@.ci/modules

bench: packages python ## measure; FIGURE=name for one figure
	@$(BIN)/python -m tests.bench $(FIGURE)

bench-cluster: packages python ## measure on the kit's Kubernetes, which must be up; FIGURE=name for one figure
	@$(BIN)/python -m tests.bench_cluster $(FIGURE)

up: packages python ## start Enclii here, in the background
	@$(BIN)/enclii up -d

down: ## stop what was started; PURGE=1 leaves nothing but the Debian packages
	@.ci/down $(if $(PURGE),--purge)

format: python ## rewrite the code in the project's format
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

lock: ## resolve requirements.lock again
	@.ci/lock

python:
	@.ci/setup python

packages:
	@.ci/setup packages
