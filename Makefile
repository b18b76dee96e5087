# Every target sets up what it needs: a virtual environment in .venv, with pinned versions, created once.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

.PHONY: demo test test-full test-slow check fix docs bench torture clean

demo: .venv/.installed  ## Train LeNet-5 on the sample that ships with the package, and say where the report is
	$(BIN)/striate train

test: .venv/.developing  ## The fast tests: all without a mark
	$(PYTEST)

test-full: .venv/.developing  ## The fast tests, and those marked `full`
	$(PYTEST) -m "not slow"

test-slow: .venv/.developing  ## The tests that take long or need much disk
	$(PYTEST) -m slow

check: .venv/.developing  ## Format, lint, types, `test-full`: what continuous integration runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -m "not slow"

fix: .venv/.developing  ## Fix format and lint automatically where possible
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/.developing  ## Generate the pages that are made from the code: docs/nets, docs/commands.md
	$(BIN)/python -m scripts.make_docs
	$(BIN)/python -m scripts.make_commands

bench: .venv/.developing  ## Measure every figure that the documentation quotes; rows go to bench/results
	$(BIN)/python -m bench

torture: .venv/.developing  ## Kill runs at 60 moments, resume them, and compare them with unbroken ones, to the bit
	$(BIN)/python -m bench torture

clean:  ## Remove the environment and all caches; runs stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build dist

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "striate needs Python 3.11 or newer; name one with: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing striate and PyTorch into .venv, once: some minutes and 5 GB"
	$(PIP) --editable .
	@touch $@

.venv/.developing: .venv/.installed
	$(PIP) --editable '.[dev]'
	@touch $@
