# Two commands: `make demo` sets everything up and runs the demo, `make test` sets up and runs all checks.
# TORCH_INDEX=<address of PyTorch's CPU index> takes torch from there first (see the README).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test lint format smoke bench wheel clean

demo: $(VENV)/.installed
	$(BIN)/foxgan run demo

test: lint smoke
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

smoke: $(VENV)/.installed-dev
	rm -rf runs/smoke
	$(BIN)/foxgan run smoke --workspace runs/smoke
	$(BIN)/foxgan run smoke --workspace runs/smoke

bench: $(VENV)/.installed-dev
	$(BIN)/python -m tests.benchmarks

wheel: $(VENV)/.installed-dev
	$(PIP) build
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist runs .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.python:
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'foxgan needs Python 3.11 or newer; name one with: make demo PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)
ifdef TORCH_INDEX
	$(PIP) torch torchvision --index-url $(TORCH_INDEX)
endif
	touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml
	@echo "installing foxgan and its libraries into $(VENV) (a few minutes the first time)"
	$(PIP) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	touch $@
