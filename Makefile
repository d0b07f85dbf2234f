# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# Every target makes what it needs under .cache/ (the demo under .demo/) and leaves the rest of the machine alone;
# `make test` as root also installs the Debian packages that tests/system-packages.txt names.

PYTHON ?= python3
VENV := .cache/venv
RUN := $(VENV)/bin/python

.PHONY: demo test lint docs bench dist clean system-packages

demo:
	$(PYTHON) inventories/demo/demo.py

test: system-packages $(VENV)/.requirements
	$(RUN) tests/suite.py

lint: $(VENV)/.requirements
	$(VENV)/bin/nox --session lint

docs: $(VENV)/.requirements
	$(VENV)/bin/nox --session docs

bench: $(VENV)/.requirements-bench
	@tests/install-system-packages system-packages-bench.txt
	$(RUN) tests/benchmarks/converge.py
	$(RUN) tests/benchmarks/repository.py

# Any Python that has PyYAML can pack the engine; where there is none, our own environment does.
dist:
	@mkdir -p dist
	@python="$(PYTHON)"; "$$python" -c 'import yaml' 2>/dev/null || { $(MAKE) $(VENV)/.requirements-run && python=$(RUN); }; \
	PYTHONPATH=plugins/plugin_utils "$$python" -c 'import pathlib, zipapp; \
	pathlib.Path("dist/continuity.pyz").write_bytes(zipapp.build(bytecode=True))' && chmod +x dist/continuity.pyz && ls -l dist/continuity.pyz

clean:
	rm -rf .cache dist .demo

system-packages:
	@tests/install-system-packages

$(VENV)/.%: tests/%.txt tests/requirements-run.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "continuity is run and tested with Python 3.11 or later; say which one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
