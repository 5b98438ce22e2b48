# make demo and make test do all their own set-up in .venv; they need Python 3.11 or newer with venv (tested: 3.11, 3.12).
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS := test
comma := ,

.PHONY: demo tour test test-slow test-browser lint bench clean

demo: $(VENV)/installed
	$(BIN)/python -m experiments.vae

# make tour DATA=DIR: prepared datasets and tables of python -m vae_jax prepare, where they are not in their usual place
tour: $(VENV)/installed
	$(BIN)/python -m experiments.tour $(if $(DATA),--data-dir '$(DATA)')

test: $(VENV)/installed lint
	$(BIN)/python -m pytest -n 2 -m 'not slow and not browser'
	@echo 'not run here: make test-slow (minutes), make test-browser (needs chromium: apt-get install chromium)'

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-slow: $(VENV)/slow-installed
	$(BIN)/python -m pytest -m slow -rs

test-browser: $(VENV)/installed
	$(BIN)/python -m pytest -m browser -rs

bench: $(VENV)/bench-installed
	$(BIN)/python -m benchmarks.run

# $(call install,EXTRAS): the project and these extras into the environment, by uv where it is there
define install
	@if command -v uv >/dev/null 2>&1; then \
	  { test -x $(BIN)/python || uv venv -q -p '$(PYTHON)' $(VENV); } && uv pip install -q -p $(BIN)/python -c constraints.txt -e '.[$(1)]'; \
	else \
	  { test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); } && $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[$(1)]'; \
	fi
	@touch $@
endef

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n '$(PYTHON)' || { echo 'error: no Python 3.11 or newer with venv was found; fix: install one, or make PYTHON=/path/to/python3.11'; exit 3; }
	$(call install,$(EXTRAS))

$(VENV)/slow-installed: $(VENV)/installed
	$(call install,test$(comma)ray$(comma)slurm$(comma)optuna)

$(VENV)/bench-installed: $(VENV)/installed
	$(call install,bench)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache *.egg-info
