# Everything that people and CI run. `make help` lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Files or directories of tests, for `make test`; all, where it is empty.
TESTS  ?=
# A directory of wheels, a proxy or a mirror is pip's own configuration; constraints.txt pins versions, nothing else.
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo prepare test test-long lint format picture pages wheelhouse bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --constraint constraints.txt --group dev --editable .
	@touch $@

demo: $(STAMP) ## watch the real daemon log in, renew and heal, against a stand-in AWS
	@$(BIN)/python -m standin.demo

# The root file system of the booted machines is made before any test's time runs.
prepare: $(STAMP)
	@if [ "$$(id -u)" = 0 ] && [ -x /usr/bin/apt-get ]; then \
	    tests/support/prepare.sh && $(BIN)/python -m tests.support.image; fi

test: prepare ## all tests, or those in TESTS; as root on Debian or Ubuntu it installs what the system tests need
	$(BIN)/python -m pytest $(TESTS) -m "not long" --numprocesses 2 --dist loadgroup

test-long: prepare ## the long forms, which print their counts, then all the others twenty times: bounded, but hours
	$(BIN)/python -m pytest -m long --timeout 7200 -rP
	$(MAKE) shuffled RUNS=20

.PHONY: shuffled soak mutants fuzz
RUNS ?= 3
shuffled: prepare ## the tests of every commit RUNS times (3), each in another order, whose seed is printed
	for run in $$(seq $(RUNS)); do \
	    $(BIN)/python -m pytest -m "not long" --numprocesses 2 --dist loadgroup || exit 1; done

soak: prepare ## ten thousand renewals, and two days by libfaketime: what the daemon needs stays as it was
	$(BIN)/python -m pytest tests/process/test_soak.py -m long --timeout 7200 -rP

fuzz: prepare ## the fuzzers and the model for long: a hundred times as many examples as in CI
	$(BIN)/python -m pytest tests/model tests/core/test_fuzz.py tests/issuer/test_fuzz.py tests/clients/test_fuzz.py \
	    --hypothesis-profile=long --hypothesis-show-statistics --timeout 14400

mutants: prepare ## break the program in fifty places, one after the other: each time a test must fail
	$(BIN)/python -m tests.mutants

lint: $(STAMP) ## ruff, mypy and the rooms' rules, which are tests too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff format everything
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

picture: $(STAMP) ## draw docs/demo.svg anew, from a real run of the demo
	$(BIN)/python docs/picture.py

pages: $(STAMP) ## make what is made in docs/ and of it: codes, catalog, schema, manual, faults
	$(BIN)/python -m docs.codes
	$(BIN)/python -m docs.settings
	$(BIN)/python -m docs.manual
	$(BIN)/python -m docs.faults

wheelhouse: $(STAMP) ## all that an install takes, for hosts without an index: dist/wheelhouse, with hashes
	$(BIN)/python packer/wheelhouse.py dist/wheelhouse

bench: prepare ## ecrlogind beside its peers, in one run; the fleet is `python -m bench.fleet`
	$(BIN)/python -m bench

clean: ## take away what the other targets made
	rm -rf $(VENV) .venv-bench .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist
