# Every target first makes the environment that it needs.
PYTHON ?= python3.11
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

repro: $(VENV)/ready  ## rebuild whatever is out of date, from download to results table
	dvc repro

test: lint  ## check style and types, run the unit tests
	pytest

smoke: $(VENV)/ready  ## run the real DAG, shrunken, in a fresh clone
	pytest -m slow

lint: $(VENV)/ready  ## check style and types
	ruff check
	ruff format --check
	mypy

params: $(VENV)/ready  ## compose conf/ into params.yaml
	python -m stages.core.params

seeds: $(VENV)/ready  ## repeat the training over three seeds, into reports/seeds.md
	python -m stages.core.seeds 13 14 15

readme: $(VENV)/ready  ## put the generated tables into README.md
	python -m stages.core.readme

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.PHONY: help repro test smoke lint params seeds readme
