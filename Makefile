.DEFAULT_GOAL := all
PYTHON ?= python3
INSTALLING := --quiet --disable-pip-version-check --require-hashes
PYTEST := pytest -n 2 --dist loadfile --no-loadscope-reorder
LOCKING := --universal --generate-hashes --python-version 3.11 --no-annotate --no-header
# Stages call `python`: it is the one of this folder's environment, activated or not.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: all test lint lock litert prove prove-quick gpu-check bench clean help

all: .venv/installed  ## set up, run the pipeline, print what came out (the default)
	@python -m tools.params
	@dvc repro
	@python -m tools.summary

test: .venv/installed-dev  ## set up and run the tests: offline, a few minutes
	@# In the order of tests/conftest.py, which matters: its reason stands there.
	@$(PYTEST) -m "not slow"

litert: .venv-litert/installed  ## set up what `export.formats: [onnx, litert]` needs, apart from .venv: several GB

prove: .venv/installed-dev  ## kill, crash, move and corrupt it all, and compare every byte: hours; prints a table
	@python -m tests.proof --full

prove-quick: .venv/installed-dev  ## the same in some minutes, after the slow tests
	@$(PYTEST) -m slow
	@python -m tests.proof --quick

gpu-check: .venv/installed-dev  ## on a machine with an NVIDIA GPU: that it keeps the promises, and how fast; 10 minutes
	@python -m tests.proof.gpu

bench: .venv/installed-dev  ## ours and the alternatives taking turns, under 10 minutes if nothing else runs; prints tables
	@dvc repro prepare
	@python -m benchmarks

lint: .venv/installed-dev  ## set up and check style and types
	@ruff check .
	@ruff format --check .
	@mypy

lock:  ## renew the locks after an edit of requirements*.txt (needs uv)
	for name in requirements requirements-s3 requirements-ssh requirements-search requirements-dev requirements-heic \
		requirements-litert; do \
		uv pip compile $$name.txt $(LOCKING) -o $$name.lock || exit; done

clean:  ## remove the environment, logs, downloads, features and unfinished runs; data and models stay in DVC's cache
	rm -rf .venv .venv-litert logs .downloads .checkpoints .features dvc_plots

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' Makefile

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make: Python 3.11 or newer is needed; name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/installed: requirements.lock | .venv/bin/python
	@echo "make: installing the packages of requirements.lock into .venv (a few minutes, several GB)"
	@pip install $(INSTALLING) -r requirements.lock
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	@pip install $(INSTALLING) -r requirements-dev.lock
	@touch $@

.venv-litert/installed: requirements-litert.lock
	$(PYTHON) -m venv .venv-litert
	@.venv-litert/bin/python -m pip install $(INSTALLING) -r requirements-litert.lock
	@touch $@
