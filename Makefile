# Every target first makes the environment that it needs.
PYTHON ?= python3.11
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

repro: $(VENV)/ready  ## rebuild whatever is out of date, from download to results table
	dvc repro

serve: $(VENV)/ready  ## serve data/release over HTTP, on this machine alone
	python -m stages.serve

test: lint  ## check style and types, run the unit tests
	pytest -n 2 --dist worksteal

smoke: $(VENV)/ready  ## run the real DAG, shrunken, and README's commands, in fresh clones; inject 16 faults
	@# The third file waits behind the first, which takes the longest.
	pytest -m slow -n 2 --dist loadfile --no-loadscope-reorder tests/test_recipes.py tests/test_dag.py \
	  tests/tools/test_peers.py tests/test_faults.py tests/test_post.py tests/tools/test_growth.py \
	  tests/test_serve.py

processes: $(VENV)/ready  ## train in two processes, and kill one
	pytest -m slow tests/test_processes.py

cluster: $(VENV)/ready  ## sweep in a Slurm on this machine (slurm-wlm and munge), check SkyPilot's file
	pytest -m slow tests/test_slurm.py tests/test_skypilot.py

faults: $(VENV)/ready  ## inject a hundred faults into the shrunken DAG (FAULTS=100 SEED=0)
	FAULTS=$(or $(FAULTS),100) SEED=$(or $(SEED),0) pytest -s -m slow tests/test_faults.py

verify: $(VENV)/ready  ## check outputs, their cache and reports against dvc.lock
	python -m stages.tools.verify

audit:  ## look up constraints.txt among the known vulnerabilities, except those of SECURITY.md
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet pip-audit
	.venv-audit/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip \
	  $$(grep -oE 'CVE-[0-9]+-[0-9]+' SECURITY.md | sed 's/^/--ignore-vuln /')

lint: $(VENV)/ready  ## check style and types
	ruff check
	ruff format --check
	mypy

params: $(VENV)/ready  ## compose conf/ into params.yaml
	python -m stages.tools.params

seeds: $(VENV)/ready  ## repeat the experiment over three seeds, into reports/sweeps/seed
	python -m stages.tools.sweep seed=13,14,15 -- +experiment=sweep

depth: $(VENV)/ready  ## trace accuracy against latency over the student's depth
	python -m stages.tools.sweep student.n_layers=3,4,5,6 -- +experiment=sweep

growth: $(VENV)/ready  ## measure time and memory at 1, 10 and 100 times the texts, into reports/growth
	python -m stages.tools.growth

peers:  ## time other engines on the same weights, into reports/peers.md; takes a C++ compiler
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --constraint constraints.txt --upgrade pip
	.venv-peers/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[peers]'
	.venv-peers/bin/python -m stages.tools.peers $(SETTINGS)

readme: $(VENV)/ready  ## put the generated table into README.md
	python -m stages.tools.readme

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.PHONY: help repro serve test smoke processes cluster faults verify audit lint params seeds depth growth peers readme
