# make demo    a DAG run by Airflow pulls a list from the local sandbox, and shows what landed
# make test    the tests
# make system  the tests that run a whole Airflow
# make browser the tests that look at Airflow in a real browser; make screenshots puts their pictures into the docs
# make check   lint, types, floors, docs, build, and the wheel in an empty environment
# make older   the wheel in older Airflows, back to 2.11: form, page, pulls, sensors, commands
# make docs    the documentation as a site, in build/site
# make bench   what a pull costs, beside what users would pick instead
# make clean   remove what these made
# Everything is installed into .venv. Another Python: make test PYTHON=python3.12 VENV=.venv312

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: demo test system browser screenshots check older docs bench clean
.DEFAULT_GOAL := demo

$(READY): pyproject.toml airflow_provider_gofundo/__init__.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/python scripts/demo.py

test: $(READY)
	$(BIN)/python -m pytest

system: $(READY)
	$(BIN)/python -m pytest -m system

browser: $(READY)
	scripts/ensure_chromium.sh
	$(BIN)/python -m pytest -m browser

screenshots: browser
	for picture in docs/images/*.png; do cp build/screenshots/$${picture##*/} docs/images/; done

check: $(READY) docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/check_wheel.py

older: $(READY)
	$(BIN)/python scripts/check_older.py

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(READY)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
