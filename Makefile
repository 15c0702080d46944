# Each target builds its own virtual environment in .venv and needs only Python (3.10 or later) with venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TORCH  := 2.13.0
CPU_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: demo test bench lint clean

demo: $(VENV)/.installed
	$(BIN)/cryodrake demo -o demo

test: lint
	$(BIN)/python -m pytest -q -m "not slow"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache

# torch first, and without a graphics card its CPU build, which is ten times smaller. pip would wait long for an
# index that cannot be reached, so we knock first.
$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "cryodrake needs Python 3.10 or later: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv is missing: apt install python3-venv"; exit 1; }
	@if nvidia-smi >/dev/null 2>&1; then \
		$(BIN)/python -m pip install -q "torch>=2.4"; \
	elif $(BIN)/python -c 'import urllib.request as u; u.urlopen("$(CPU_INDEX)/torch/", timeout=5).close()' 2>/dev/null; then \
		$(BIN)/python -m pip install -q --timeout 30 --retries 1 --index-url $(CPU_INDEX) "torch==$(TORCH)" \
		|| $(BIN)/python -m pip install -q "torch==$(TORCH)"; \
	else \
		$(BIN)/python -m pip install -q "torch==$(TORCH)"; \
	fi
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install -q -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install -q -e ".[dev]"
	@touch $@ $(VENV)/.installed
