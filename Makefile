# Two commands: `make demo` and `make test`. Each makes .venv and installs what it needs first.
# PYTHON chooses the interpreter (3.11 or newer): make demo PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
PIP := python -m pip install --quiet --disable-pip-version-check
CODE := src tests benchmarks paper
# Each of two processes runs files one after the other, so that what a file prepares is made once; who is done takes over.
TWO := -n 2 --dist worksteal

.PHONY: help demo test check test-lowest release-check docs fuzz format install clean
.DEFAULT_GOAL := help

help:
	@echo "make demo          search the built-in digits on this machine's CPU, in minutes"
	@echo "make test          format, lint, types and tests: what CI runs"
	@echo "make check         format, lint and types alone"
	@echo "make test-lowest   the quick tests with the lowest versions that pyproject.toml allows"
	@echo "make release-check build wheel and sdist, and run the demo from an empty environment"
	@echo "make docs          the site in build/site, every warning and broken link an error"
	@echo "make fuzz          5,000 damaged files and strange options (FUZZ=200 SEED=7 for others), and new draws of all laws"
	@echo "make format        rewrite the code in the project's format"

demo: .venv/installed
	$(BIN)/autoshrink search

check: .venv/installed-dev
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TWO)

test-lowest: .venv/python
	$(PYTHON) -m venv --clear build/lowest
	build/lowest/bin/$(PIP) -c constraints-lowest.txt -e '.[data,onnx,train]' pytest pytest-timeout pytest-xdist hypothesis
	OMP_NUM_THREADS=1 build/lowest/bin/pytest $(TWO) -m "not slow"

release-check: .venv/python
	rm -rf build/release
	$(PYTHON) -m venv build/release/tools
	build/release/tools/bin/$(PIP) -c constraints.txt build twine
	build/release/tools/bin/python -m build --outdir build/release/dist .
	build/release/tools/bin/twine check --strict build/release/dist/*
	$(PYTHON) -m venv build/release/empty
	build/release/empty/bin/$(PIP) -c constraints.txt build/release/dist/*.whl
	mkdir build/release/elsewhere
	cd build/release/elsewhere && ../empty/bin/python $(CURDIR)/tests/release_check.py $(CURDIR) ../dist/*.whl

docs: .venv/installed-docs
	$(BIN)/mkdocs build

FUZZ ?= 2500
SEED ?= 1000

fuzz: .venv/installed-dev
	AUTOSHRINK_FUZZ=$(FUZZ) AUTOSHRINK_FUZZ_SEED=$(SEED) OMP_NUM_THREADS=1 $(BIN)/pytest $(TWO) tests/fuzz
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TWO) -m hypothesis --hypothesis-profile=default

format: .venv/installed-dev
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

install: .venv/installed

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "autoshrink needs Python 3.11 or newer; '$(PYTHON)' is not. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: .venv/python pyproject.toml constraints.txt
	$(BIN)/$(PIP) -c constraints.txt -e '.[data,onnx]'
	@touch $@

.venv/installed-dev: .venv/python pyproject.toml constraints.txt
	$(BIN)/$(PIP) -c constraints.txt -e '.[data,bench,dev]' -e ./paper
	@touch $@ .venv/installed

.venv/installed-docs: .venv/python pyproject.toml constraints.txt
	$(BIN)/$(PIP) -c constraints.txt -e '.[docs]'
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build
