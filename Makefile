# Python 3.11, 3.12 or 3.13 and make are all that is needed; everything goes into .venv.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# In the order of their names: by their number the files with few tests, which are the longest, would come last.
SHARED := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
ENGINES := engines
AZURITE := 3.35.0
ESBUILD := 0.28.2
# The first of these that runs and is of a version that backbeam supports; `make PYTHON=...` names another.
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& { echo $$python; break; }; done)

.PHONY: run test test-thorough test-all test-engines test-faults test-stores azurite esbuild test-deploy mutation bench bench-data fuzz docs \
	site screenshots lint types dist lock clean

run: $(VENV)/installed  ## the main job on the embedded digits
	@$(BIN)/backbeam run

test: $(VENV)/installed-test  ## the offline tests that take a few minutes
	@$(SHARED) -m "not thorough and not slow and not engines and not deploy" -rs

test-thorough: $(VENV)/installed-test  ## the tests that every change must pass besides
	@$(SHARED) -m "thorough and not slow and not engines and not deploy" -rs

test-all: $(VENV)/installed-test  ## the tests that take minutes too
	@$(SHARED) -m "not engines and not deploy"

# All that `make test` leaves out of tests/engines, or less with ENGINES="engines and not slow". Prism is built where there
# is Go; without it its tests skip and say so.
test-engines: $(VENV)/installed-engines  ## other engines, staging, the job for Dataflow
	@command -v go >/dev/null && GOBIN=$(CURDIR)/$(BIN) go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0 \
		|| echo "no Prism: needs Go and its modules" >&2
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n 2 -m "$(ENGINES)" -rs tests/engines

test-faults: $(VENV)/installed-test  ## commands that fail at each of their operations on the disk; takes hours
	@$(BIN)/python -m pytest -n auto tests/faults

test-stores: $(VENV)/installed-test azurite  ## workspaces in object stores, against emulators
	@$(BIN)/python -m pytest -rs tests/pipeline/storage/test_object_store.py tests/pipeline/storage/test_lease.py tests/test_object_stores.py tests/test_store_*.py

# Without it the tests of az:// skip and say so.
azurite: $(BIN)/python  ## the emulator of Azure's blob storage, where there is npm
	@test -x $(VENV)/azurite/node_modules/.bin/azurite-blob || { command -v npm >/dev/null \
		&& npm install --silent --no-audit --no-fund --prefix $(VENV)/azurite azurite@$(AZURITE) >&2; } \
		|| echo "no Azurite: needs npm and its registry" >&2

# Without it the short script of the report cannot be written again, and the test that compares it skips and says so.
esbuild: $(BIN)/python  ## the minifier of the report's script, where there is npm
	@test -x $(VENV)/esbuild/node_modules/.bin/esbuild || { command -v npm >/dev/null \
		&& npm install --silent --no-audit --no-fund --prefix $(VENV)/esbuild esbuild@$(ESBUILD) >&2; } \
		|| echo "no esbuild: needs npm and its registry" >&2

test-deploy: $(VENV)/installed-dev  ## all of tests/deploy, Airflow too, in an environment of its own
	@$(BIN)/python -m pytest -rs tests/deploy

mutation: $(VENV)/installed-test  ## small changes of the code that the tests should notice; MUTATION="--files model/order.py --all"
	@$(BIN)/python -m tests.mutation $(MUTATION)

bench: $(VENV)/installed-bench  ## how long a training step takes, ours and others'
	@$(BIN)/python -m tests.benchmarks.steps

bench-data: $(VENV)/installed  ## preprocessing and evaluation beside TensorFlow Datasets and others; 20 GB of disk
	@$(BIN)/python -m tests.benchmarks.main_job
	@$(BIN)/python -m tests.benchmarks.data
	@$(BIN)/python -m tests.benchmarks.reading
	@$(BIN)/python -m tests.benchmarks.csv_files
	@$(BIN)/python -m tests.benchmarks.pictures

fuzz: $(VENV)/installed-fuzz  ## hostile input for every reader; says how many inputs were tried
	@$(BIN)/python -m pytest -rs tests/fuzz/test_hypothesis.py tests/fuzz/test_atheris.py

docs: $(VENV)/installed-test esbuild  ## what is made from the code: pages and tables in docs/, the short script of the report
	@$(BIN)/python -m tests.cli_reference
	@$(BIN)/python -m tests.configuration_page
	@$(BIN)/python -m tests.tables_page
	@$(BIN)/python -m tests.shorten_scripts

site: $(VENV)/installed-docs  ## the pages as a site in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

screenshots: $(VENV)/installed-test  ## the pictures in docs/, of the report and of a terminal; needs Chromium
	@$(BIN)/python -m tests.screenshots docs

lint: $(VENV)/installed-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.class_names

types: $(VENV)/installed-dev
	@$(BIN)/mypy

# What goes to a package index; REPOSITORY is the address that the README's pictures and links lead to (tests/distribution.py).
dist: $(VENV)/installed-test  ## the sdist and the wheel, in dist/; make dist REPOSITORY=https://HOST/OWNER/backbeam
	@$(BIN)/python -m tests.distribution dist $(REPOSITORY)
	@$(BIN)/python -m twine check --strict dist/*

lock: $(VENV)/installed-dev  ## work out constraints.txt again from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header \
		--upgrade --output-file constraints.txt pyproject.toml

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "backbeam needs Python 3.11, 3.12 or 3.13 in PATH (or make PYTHON=...)" >&2; exit 2; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# A stamp is written last, so an installation that was interrupted is done again.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing backbeam and its dependencies into $(VENV) (2 to 3 GB, a minute or two)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	@echo "installing what the tests need"
	@$(PIP) --editable '.[test]'
	@touch $@

$(VENV)/installed-engines: $(VENV)/installed-test
	@echo "installing what the tests of engines need"
	@$(PIP) --editable '.[test,engines]'
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed
	@echo "installing what the benchmark compares with (about 5 GB on Linux)"
	@$(PIP) --editable '.[bench]'
	@touch $@

$(VENV)/installed-fuzz: $(VENV)/installed-test
	@echo "installing what fuzzing needs"
	@$(PIP) --editable '.[test,fuzz]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	@echo "installing what the site needs"
	@$(PIP) --editable '.[docs]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed-test
	@echo "installing what linting needs"
	@$(PIP) --editable '.[test,dev]'
	@touch $@
