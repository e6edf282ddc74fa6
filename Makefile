# Two commands for a newcomer: `make run` and `make test`. Both make the environment first.
.DEFAULT_GOAL := help
.PHONY: help run code-review support-desk test test-all test-blocked test-langchain-next release-check docs conformance record soak crash check format studio bench clean

VENV := .venv
NEXT := .venv-next
BIN := $(VENV)/bin
# The first interpreter that really runs and that pyproject.toml admits.
ADMITTED := -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python $(ADMITTED) && echo $$python && break; done)
NEEDS_PYTHON = "$(PYTHON)" $(ADMITTED) || { echo "Python 3.11, 3.12 or 3.13 is needed$(if $(PYTHON),: $(PYTHON) is none of them,).\
 Install one or name it: make $(or $(firstword $(MAKECMDGOALS)),run) PYTHON=/path/to/python3.12"; exit 1; }
# What `.env` sets, where there is one.
ENV := set -a; [ ! -f .env ] || . ./.env; set +a;
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

help:  ## Show what there is to do
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.cli  ## Route and answer the example requests, and show what that saved
	@$(ENV) $(BIN)/langchain-tiered run --file examples/requests.jsonl --tools examples/shop.py:shop_tools

code-review: $(VENV)/.cli  ## Have a team of tiers review this project's own code, and show what it cost
	@$(ENV) $(BIN)/python examples/13_code_review.py

support-desk: $(VENV)/.cli  ## Have a team of tiers refund orders of a SQLite shop, the doubted ones asked about
	@$(ENV) $(BIN)/python examples/14_support_desk.py

test: $(VENV)/.dev  ## Run all tests, on all cores
	@$(BIN)/python -m pytest -n auto

test-all:  ## Run all tests on each Python that is installed, and with the lowest versions admitted (ONLY=3.12 TESTS=...)
	@$(NEEDS_PYTHON)
	@PYTHONPATH=tests "$(PYTHON)" -m release.everywhere $(if $(ONLY),--only $(ONLY)) -- $(TESTS)

test-blocked: $(VENV)/.dev  ## Run all tests without a network, where the system permits that
	@if unshare --user --map-root-user --net true 2>/dev/null; then \
		unshare --user --map-root-user --net $(BIN)/python tests/without_network.py; \
	else echo "Skipped: this system permits no network namespace (unshare --user --net)."; fi

test-langchain-next: $(NEXT)/.dev  ## Run the tests of the bridge to LangChain 1.5, and of all agents, with LangChain 1.5
	@$(NEXT)/bin/python -m pytest -n auto tests/next tests/middleware tests/graphs

conformance: $(VENV)/.dev  ## Run LangChain's own suites on the tiered model, and on agents with each of our middleware
	@$(BIN)/python tests/conformance/counts.py
	@PYTHONPATH=tests $(BIN)/python -m conformance.langchain_agents

record: $(VENV)/.dev  ## Record the cassettes anew: over the offline server, or with OPENAI_API_KEY over the real API
	@$(ENV) VCR_RECORD_MODE=all $(BIN)/python -m pytest tests/replay -q -p no:xdist

soak: $(VENV)/.dev  ## Make 5,000 requests at 64 at once while a fifth of all calls breaks, and audit every one
	@$(BIN)/python -W error tests/soak/soak.py

crash: $(VENV)/.dev  ## Kill a process 50 times with SQLite and with Postgres, and see that nothing is lost or done twice
	@CRASH_KILLS=50 $(BIN)/python -m pytest tests/crash tests/orchestrator/test_orchestrator_crash.py -q -s -p no:xdist

check: $(VENV)/.dev  ## Run the static checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Not with --quiet: it swallows the warnings that --strict counts.
docs: $(VENV)/.docs  ## Build the pages into ./site; a broken link or reference fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The pages stand in ./site."

release-check: $(VENV)/.release  ## Build the wheel and the sdist, check them, and use them in an empty environment
	@PYTHONPATH=tests $(BIN)/python -m release.packages

studio: $(VENV)/.dev  ## Open the graphs in LangGraph Studio
	@$(ENV) $(BIN)/langgraph dev

bench: $(VENV)/.dev  ## Measure overhead, checks, waiting and the offline server against baselines
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/chat_model.py
	$(BIN)/python benchmarks/middleware.py
	$(BIN)/python benchmarks/cascade.py
	$(BIN)/python benchmarks/budget.py
	$(BIN)/python benchmarks/server.py
	$(BIN)/python benchmarks/orchestrator.py

clean:  ## Remove the environment and all that was built
	rm -rf $(VENV) $(VENV)-3.* $(VENV)-lowest $(NEXT) build dist site .mypy_cache .ruff_cache .pytest_cache .langgraph_api .conformance

$(VENV)/bin/python:
	@$(NEEDS_PYTHON)
	@echo "Making the environment in $(VENV) ($$("$(PYTHON)" --version)) ..."
	@"$(PYTHON)" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.cli: pyproject.toml | $(VENV)/bin/python
	@echo "Installing langchain-tiered, about half a minute the first time ..."
	@$(INSTALL) ".[cli]"
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing langchain-tiered and what its tests need, about a minute the first time ..."
	@$(INSTALL) ".[dev]"
	@touch $@ $(VENV)/.cli

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	@echo "Installing what builds the pages ..."
	@$(INSTALL) ".[docs]"
	@touch $@

$(VENV)/.release: pyproject.toml | $(VENV)/.dev
	@echo "Installing what builds and checks packages ..."
	@$(INSTALL) ".[dev,release]"
	@touch $@

# LangChain 1.5 asks for a later certifi than some package indexes have: it is put over a normal installation.
$(NEXT)/.dev: pyproject.toml
	@$(NEEDS_PYTHON)
	@echo "Making the environment with LangChain 1.5 in $(NEXT) ..."
	@"$(PYTHON)" -m venv --clear $(NEXT) || { rm -rf $(NEXT); exit 1; }
	@$(NEXT)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@$(NEXT)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
		langchain==1.5.0 langchain-core==1.8.1 langchain-openai==1.7.4
	@touch $@
