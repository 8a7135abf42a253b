# `make run` and `make test` are all a new machine needs: Python 3.11 or newer, git and make.
PYTHON ?= python3
VENV ?= .venv
CORES ?= 2
PORT ?= 5000
READY := $(VENV)/.ready
BIN := $(VENV)/bin
# One thread a job: parallelism comes from Snakemake.
export OMP_NUM_THREADS ?= 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup run test lint ui bench soak lock clean

help:            ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/ -/'

setup: $(READY)  ## make the environment in .venv

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $(READY)

run: $(READY)    ## run the study of params.yaml
	snakemake --cores $(CORES)

test: $(READY) lint ## lint, types and all tests, the real DAG among them
	python -m pytest -n $(CORES) --ignore tests/pipeline
	python -m pytest -n $(CORES) --dist loadfile tests/pipeline

lint: $(READY)   ## ruff, mypy, snakefmt, snakemake --lint
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint

ui: $(READY)     ## MLflow on 127.0.0.1
	scalinglab ui --port $(PORT)

bench: $(READY)  ## the benchmarks, one after the other
	for script in $(filter-out benchmarks/soak%,$(wildcard benchmarks/*.py)); do python $$script || exit 1; done

soak: $(READY)   ## 200 kills at random points and 100 random edits: an hour or two
	python benchmarks/soak.py
	python benchmarks/soak_edits.py

lock: $(READY)   ## write the versions in .venv to requirements.lock
	(head -2 requirements.lock; $(BIN)/python -m pip freeze --exclude-editable | sed 's/^torch==.*/torch==2.13.0/') > .lock && mv .lock requirements.lock

clean:           ## remove the environment and scratch files; results and caches stay
	rm -rf $(VENV) .scratch logs
