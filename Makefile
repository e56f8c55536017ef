# Every task of the project; `make help` lists them. Python tools live in .venv, made from requirements.lock.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Where it is set, every command of ppmctl compiles three hundred modules first: half a second.
unexport PYTHONDONTWRITEBYTECODE
E ?= lab
# Processes that test with Docker at once, each with servers of its own.
LABS ?= 2

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: setup ## everything, from nothing to a running application on a throwaway host
	@$(BIN)/ppmctl up -e $(E)

down: setup ## remove the throwaway host
	@$(BIN)/ppmctl down -e $(E)

test: setup ## every promise: unit, Docker, real hosts, browser; T="tests/lab -k plan" runs only these
	@$(BIN)/ppmctl engine
ifdef T
	@$(BIN)/pytest $(T)
else
	@$(BIN)/pytest -n 3 tests/unit
	@$(BIN)/pytest -n $(LABS) --dist loadfile --no-loadscope-reorder tests/lab tests/e2e tests/integration
endif

test-all: setup ## every variant too, such as every fault in every step of an upgrade (hours); SHARD=1/4: a quarter
	@$(BIN)/ppmctl engine
	@$(BIN)/pytest --full $(if $(SHARD),--shard=$(SHARD)) $(T)

lint: setup ## ruff, mypy, import-linter, codespell, hadolint, yamllint, compose-lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@git ls-files | grep -vE '(\.lock|\.svg|\.png|package-lock\.json|openapi\.json|words\.txt)$$' | xargs $(BIN)/codespell -D - -D .ci/words.txt
	@$(BIN)/yamllint --strict .
	@git ls-files '*Dockerfile' | xargs $(BIN)/hadolint
	@$(BIN)/pytest -q --durations=0 tests/unit/release/test_render.py -k compose_lint

audit: setup ## known vulnerabilities in what the lock files name, where a feed answers
	@$(BIN)/python .ci/audit.py

fmt: setup ## format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: setup ## write the pages that are generated from the code
	@$(BIN)/python -m docs.generate

screenshots: setup ## the pictures of the docs, made of a real site
	@PPM_SCREENSHOTS=docs/screenshots $(BIN)/pytest tests/e2e/test_screenshots.py

types: setup ## the description of the API that the page's types are made of
	@$(BIN)/python -c 'from app.cli import main; main()' openapi > app/ui/openapi.json

lock: setup ## resolve the dependencies again, with hashes
	@$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-emit-index-url --no-header \
		app/pyproject.toml -o app/requirements.lock
	@$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-emit-index-url --no-header \
		ppmkit/steward/requirements.in -o ppmkit/steward/requirements.lock
	@$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-emit-index-url --no-header \
		-c app/requirements.lock --group dev pyproject.toml app/pyproject.toml -o requirements.lock

setup: .venv/.done ## the virtual environment

.venv/.done: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "ppmctl needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Run: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { echo "Python's venv is missing. Run: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv from requirements.lock"
	@$(PYTHON) -m venv .venv
	@awk '/^uv==/ {on = 1; print; next} on && /^[a-z]/ {exit} on {print}' requirements.lock > .venv/uv.lock
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r .venv/uv.lock
	@$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: help up down test test-all lint audit fmt docs screenshots types lock setup
