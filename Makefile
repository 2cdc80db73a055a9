# Needs Python 3.11 or later and make, nothing else: everything is installed into .venv.
#
#   make study   run the main study to its report in runs/
#   make test    run the tests, a file at a time on every core (PYTEST_ARGS="-k name" to choose)
#   make lint    ruff, mypy, import-linter
#   make clean   remove what the other targets made, except runs/

PYTHON ?= $(shell command -v python3.11 || command -v python3)
STUDY ?= studies/01_demand_shock_ieee33/study.yaml
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DELETE_ON_ERROR:
.PHONY: study test lint clean

study: $(VENV)/.installed
	$(BIN)/drofcm run $(STUDY)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -rs -n logical --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find drofcm tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp per set of dependencies: nothing is installed twice until pyproject.toml changes.
$(VENV)/.installed: pyproject.toml | $(VENV)/.created
	$(PIP_INSTALL) --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/.created
	$(PIP_INSTALL) --editable ".[test]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.created
	$(PIP_INSTALL) --editable ".[test,dev]"
	touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "No python3 found: install Python 3.11 or later, or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "drofcm needs Python 3.11 or later, $(PYTHON) is %d.%d: name another one with make PYTHON=/path/to/python" % v[:2])'
	"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) could not make a virtual environment: on Debian install python3-venv" >&2; exit 1; }
	touch $@
