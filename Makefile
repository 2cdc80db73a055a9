# Needs Python 3.11 or later and make, nothing else: everything is installed into .venv, in the versions of requirements.lock.
#
#   make study        run the main study to its report in runs/
#   make test         run the tests, a file at a time on every core (PYTEST_ARGS="-k name" to choose)
#   make lint         ruff, mypy, import-linter
#   make lock         the newest versions that pyproject.toml admits, into requirements.lock and constraints.txt
#   make test-newest  run the tests with the newest release of everything, bounds or not, in an environment apart
#   make clean        remove what the other targets made, except runs/

PYTHON ?= $(shell command -v python3.11 || command -v python3)
STUDY ?= studies/01_demand_shock_ieee33/study.yaml
PYTEST_ARGS ?=

VENV := .venv
NEWEST := .venv-newest
BIN := $(VENV)/bin
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
PYTEST := -m pytest -rs -n logical --maxprocesses 4 --dist loadfile

# What pyproject.toml names, without the bounds on its versions.
NAMES := import re, tomllib; \
	project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	lines = project["dependencies"] + project["optional-dependencies"]["test"]; \
	print(*(re.match(r"[\w.-]+", line)[0] for line in lines))

.DELETE_ON_ERROR:
.PHONY: study test lint lock test-newest clean

study: $(VENV)/.installed
	$(BIN)/drofcm run $(STUDY)

test: $(VENV)/.installed
	$(BIN)/python $(PYTEST) $(PYTEST_ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# For every platform and every Python from 3.11 on, with the hash of every file, and no word of where they come from.
lock: $(VENV)/.created
	$(BIN)/python $(PIP_INSTALL) uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --upgrade \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file requirements.lock pyproject.toml
	sed -e '/^ *--hash/d' -e 's/ \\$$//' requirements.lock >constraints.txt

test-newest:
	rm -rf $(NEWEST)
	"$(PYTHON)" -m venv $(NEWEST)
	$(NEWEST)/bin/python $(PIP_INSTALL) --upgrade $$("$(PYTHON)" -c '$(NAMES)')
	$(NEWEST)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	$(NEWEST)/bin/python $(PYTEST) $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) $(NEWEST) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find drofcm tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Nothing is installed twice until the lock or pyproject.toml changes. Two commands, because pip refuses an editable
# project among files with hashes.
$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/.created
	$(BIN)/python $(PIP_INSTALL) --require-hashes --requirement requirements.lock
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "No python3 found: install Python 3.11 or later, or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "drofcm needs Python 3.11 or later, $(PYTHON) is %d.%d: name another one with make PYTHON=/path/to/python" % v[:2])'
	"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) could not make a virtual environment: on Debian install python3-venv" >&2; exit 1; }
	touch $@
