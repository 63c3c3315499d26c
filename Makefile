# make demo: the main job, end to end.   make test: lint, types, the whole suite.
# make matrix: run the tests that prove what is served, and write it into the README.
# make fuzz: mutated models, archives and request bodies, for two minutes.
# make bench: the server beside what one would write oneself. make bench-short: the guard.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ENVS := $(VENV)/envs
OLD := scikit-learn-1.2
OLD_PINS := tests/support/envs/$(OLD).txt
PYTHON ?= python3
CONSTRAINTS := docker/constraints.txt

.PHONY: demo test lint types tests matrix fuzz bench bench-short format clean

demo: $(STAMP)
	@$(BIN)/mms demo $(if $(ONCE),--once)

test: lint types tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

tests: $(STAMP) $(ENVS)/.$(OLD)
	$(BIN)/python -m pytest -n 2 --dist loadfile

matrix: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m supports --support-matrix $(VENV)/support.json
	$(BIN)/python -m tests.support.matrix $(VENV)/support.json README.md

# Mutated models, archives and request bodies, FOR so many seconds; SEED repeats a run.
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --seconds $(or $(FOR),120) $(if $(SEED),--seed $(SEED))

# All of it takes about three quarters of an hour. PEERS=1 measures other servers, too, each
# installed by pip; ONLY=name the rows with this in their name; JSON=path and PICTURE=path write
# what was found.
WRITE = $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json $(JSON)) $(if $(PICTURE),--picture $(PICTURE))
bench: $(STAMP)
	$(BIN)/python -m loadtests.bench $(if $(PEERS),--peers) $(WRITE)

# Some of the figures, under two minutes: fails if a ratio is below 0.9 of the committed one.
bench-short: $(STAMP)
	$(BIN)/python -m loadtests.bench --short $(WRITE)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@echo "Installing into $(VENV) (about a minute the first time)..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: install it, or run make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -q -y --no-install-recommends python3-venv; \
	  else echo "Python's venv module is missing: install the Debian package python3-venv"; exit 2; fi; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) uv
	@$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -c $(CONSTRAINTS) --build-constraints $(CONSTRAINTS) --group dev -e '.[demo,frameworks]'
	@touch $(STAMP)

# An older scikit-learn, for the tests of models that need one. Its wheels end with Python 3.11.
$(ENVS)/.$(OLD): $(OLD_PINS) $(STAMP)
	@mkdir -p $(ENVS)
	@if $(BIN)/uv venv -q --clear --no-python-downloads --python 3.11 $(ENVS)/$(OLD); then \
	  $(BIN)/uv pip install -q --compile-bytecode --only-binary :all: --python $(ENVS)/$(OLD)/bin/python -r $(OLD_PINS) && \
	  chmod -R go-w $(ENVS) && touch $@; \
	else echo "There is no Python 3.11 here: tests of models of an older scikit-learn are skipped"; fi

clean:
	rm -rf $(VENV) .demo
