# Two commands: `make demo` and `make test`. Each makes .venv and installs what it needs first.
# PYTHON chooses the interpreter (3.11 or newer): make demo PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
CODE := src tests benchmarks paper

.PHONY: help demo test fuzz format install clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   search the built-in digits on this machine's CPU, in minutes"
	@echo "make test   format, lint, types, tests and docs: what CI runs"
	@echo "make fuzz   5,000 damaged files and strange options; FUZZ=200 SEED=7 for others"
	@echo "make format rewrite the code in the project's format"

demo: .venv/installed
	$(BIN)/autoshrink search

test: .venv/installed-dev
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

FUZZ ?= 2500
SEED ?= 1000

fuzz: .venv/installed-dev
	AUTOSHRINK_FUZZ=$(FUZZ) AUTOSHRINK_FUZZ_SEED=$(SEED) OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 tests/fuzz

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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[data,onnx]'
	@touch $@

.venv/installed-dev: .venv/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[data,bench,dev]'
	@touch $@ .venv/installed

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
