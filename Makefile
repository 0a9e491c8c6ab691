# LMS evo. Every path here is relative, so that the checkout's path may hold spaces.
# What each target does on a machine that has nothing yet is written down in docs/decisions/0020-set-up.md.

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# uv decides nothing by itself: the system's certificates, our Python, and a cache that is writable.
BUNDLE := $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem))
ifneq ($(BUNDLE)$(SSL_CERT_FILE)$(SSL_CERT_DIR),)
export UV_SYSTEM_CERTS := 1
endif
ifneq ($(BUNDLE),)
export PIP_CERT ?= $(BUNDLE)
endif
export UV_PYTHON_DOWNLOADS := never
ifneq ($(CI),)
export UV_NO_PROGRESS := 1
endif
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

UV_WANTED := uv>=0.13,<0.14
PYTHONS := python3.14 python3.13 python3.12 python3.11 python3
PYTHON := .venv/bin/python
STAND := $(PYTHON) -m lms_firmware_sim.stand
TESTS := tests
DEB :=
FAULTS := tests/faults
WORKERS := 2
SEEDS := 1000
FIRST := 0
SEED :=
QUICK :=

# Exactly what the environment is made from; when it changes, or the checkout moves, the environment is made anew.
ORIGIN = { cat uv.lock pyproject.toml */pyproject.toml; pwd; uname -m; } | cksum

# Where HOME cannot be written, caches go into .tools.
CACHES = if [ ! -d "$${HOME:-}" ] || [ ! -w "$${HOME:-}" ]; then \
	  mkdir -p .tools/cache; XDG_CACHE_HOME="$$(pwd)/.tools/cache"; export XDG_CACHE_HOME; fi

.PHONY: help
help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: setup ## Start everything on this machine; Ctrl-C stops it, the data stays
	@exec $(STAND) demo --with-parent

.PHONY: demo-reset
demo-reset: setup ## Forget the demo's data, accounts and passwords
	@exec $(STAND) reset

.PHONY: test
test: setup broker chromium mbpoll ## Run all tests, with all the set-up that they need (TESTS=tests/agent for a part)
	@$(CACHES); exec $(PYTHON) -m pytest $(TESTS) -n $(WORKERS) --dist loadgroup -m "not bench"

.PHONY: faults
faults: setup broker ## Inject every fault of docs/faults.md, most of them many times; ends with a table
	@$(CACHES); LMS_FAULTS=full exec $(PYTHON) -m pytest $(FAULTS) -n $(WORKERS) --dist worksteal -q --no-header --timeout 1800

.PHONY: check
check: setup ## Check formatting, lint rules, types and which package imports which
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports

.PHONY: format
format: setup ## Format the code and mend what the linter can mend
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format .

.PHONY: bench
bench: setup broker ## Measure, each figure beside the limit measured in the same run
	@$(CACHES); exec $(PYTHON) -m pytest tests/benchmarks -m bench -n 0 -s --no-header -q --timeout 900

.PHONY: deb
deb: setup ## Build the agent's Debian package in dist/ (DEB="--architecture arm64 --debian 12 --version 1.2")
	@$(CACHES); exec $(PYTHON) packaging/deb.py $(DEB)

.PHONY: simulate
simulate: setup ## Simulate agents, broker, ingest and database with faults (SEEDS=1000 FIRST=0; SEED=42; QUICK=1)
	@PYTHONPATH=tests exec $(PYTHON) -m simulation $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --first $(FIRST))

.PHONY: setup
setup: .tools/uv/bin/uv ## Make the Python environment .venv from the lock file (also done by all others)
	@if [ "$$(cat .venv/made-from 2>/dev/null)" != "$$($(ORIGIN))" ]; then \
	  $(CACHES); \
	  echo "Set-up: installing the locked packages into .venv (about 200 MB, once)"; \
	  if [ -f .venv/made-in ] && [ "$$(cat .venv/made-in)" != "$$(pwd)" ]; then rm -rf .venv; fi; \
	  .tools/uv/bin/uv sync --locked --python .tools/uv/bin/python || { \
	    echo "Set-up failed: uv could not install the packages; its reason stands above." >&2; \
	    echo "Without a network: check that the package index is reachable (UV_INDEX_URL names another)." >&2; \
	    echo "A package without a build for this Python: install python3.11 with its venv module, make clean." >&2; \
	    exit 1; }; \
	  pwd > .venv/made-in; $(ORIGIN) > .venv/made-from; \
	fi

.tools/uv/bin/uv:
	@found=; seen=; \
	for python in $(PYTHONS); do \
	  version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	  if ! $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    seen="$$seen $$python is $$version, too old;"; continue; fi; \
	  if ! $$python -c 'import venv, ensurepip, ssl, sqlite3, ctypes' 2>/dev/null; then \
	    seen="$$seen $$python ($$version) lacks its venv module: apt-get install python$$version-venv;"; continue; fi; \
	  found=$$python; break; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Set-up failed: LMS evo needs Python 3.11 or newer, with venv, on PATH." >&2; \
	  echo "Found:$${seen:- no Python 3 at all;}" >&2; \
	  echo "On Debian: apt-get install python3 python3-venv" >&2; exit 1; fi; \
	$(CACHES); \
	echo "Set-up: installing uv with $$found ($$version)"; \
	rm -rf .tools/uv && mkdir -p .tools && $$found -m venv .tools/uv && \
	.tools/uv/bin/python -m pip install --disable-pip-version-check --quiet --progress-bar off "$(UV_WANTED)" || { \
	  rm -rf .tools/uv; \
	  echo "Set-up failed: uv could not be installed from PyPI; pip's reason stands above." >&2; \
	  echo "Check that the package index is reachable (pip config list)." >&2; exit 1; }

.PHONY: broker
broker: setup ## Find or fetch PostgreSQL and the broker (also done by test and bench)
	@exec $(STAND) prepare

.PHONY: chromium
chromium: ## Install Chromium for the browser tests, where we are root; else say that they are skipped
	@for name in chromium chromium-browser google-chrome; do \
	  if command -v $$name >/dev/null 2>&1; then exit 0; fi; done; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then \
	  echo "No Chromium on PATH: the browser tests will be skipped. As root: apt-get install chromium"; exit 0; fi; \
	echo "Set-up: installing Chromium for the browser tests (about 100 MB, once)"; \
	export DEBIAN_FRONTEND=noninteractive; \
	install="apt-get install -y -q --no-install-recommends chromium"; \
	if ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 && $$install; then exit 0; fi; \
	if apt-get update -q && $$install; then exit 0; fi; \
	echo "Chromium could not be installed, apt-get's reason stands above: the browser tests will be skipped."

.PHONY: mbpoll
mbpoll: setup ## Find or fetch mbpoll, a Modbus master of another make that reads the simulator in tests
	@PYTHONPATH=tests exec $(PYTHON) -m support.mbpoll

.PHONY: clean
clean: ## Remove the environment, the tools and all caches; the demo's data stays
	@rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
