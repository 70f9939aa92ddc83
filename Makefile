# The book's commands. `make book` and `make test` need nothing but Python 3.11 to 3.13.
# Work is done in a virtual environment, .venv; another: make book VENV=elsewhere

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV ?= .venv
PORT ?= 8000
NOTEBOOKS ?=
SOLUTIONS ?= yes
EXPERIMENT ?=

# One thread: quicker for small arrays, and the same digits on every run.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export PYTHONUNBUFFERED := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The first Python that runs and is of a version that the book supports.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	>/dev/null 2>&1 && { echo $$p; break; }; done)
PY := $(VENV)/bin/python
READY := $(VENV)/.book-ready
TORCH := $(VENV)/.torch-ready

KEY ?= term.key

.PHONY: help book site serve test check lab notebooks experiments explorables cards coursework bench frameworks \
	frameworks-legacy lint mutants coverage lock clean for-ci edition edit

help: ## show this list
	@echo "The book's commands:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

$(READY): requirements.txt pyproject.toml tools/install.py
	@test -n "$(PYTHON)" || test -x $(PY) || { \
		echo "Stopped: no Python 3.11, 3.12 or 3.13 was found."; exit 1; }
	@test -x $(PY) || { echo "Making the virtual environment $(VENV) with $(PYTHON)"; \
		$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Stopped: $(PYTHON) cannot make a virtual environment" \
		"(on Debian and Ubuntu: apt install python3-venv)."; exit 1; }; }
	@$(PY) tools/install.py packages
	@touch $@

$(TORCH): $(READY)
	@$(PY) tools/install.py torch
	@touch $@

for-ci: $(READY)
	@$(PY) tools/install.py ci

book: $(READY) ## build the site, strictly, and check its pages
	@$(PY) tools/book.py

site: $(TORCH) ## build everything for publishing: the book, notebooks, problem sets
	@$(PY) tools/publish.py

serve: book ## build the site and show it at http://localhost:8000
	@echo "Open http://localhost:$(PORT) - stop with Ctrl+C."
	@$(PY) -m http.server -b 127.0.0.1 -d _build/html $(PORT) 2>/dev/null || { \
		echo "Stopped: port $(PORT) cannot be used. Try: make serve PORT=8001"; exit 1; }
	@echo "Done: the server has stopped."

test: $(TORCH) for-ci ## run every check: lint, tests, notebooks, site, browser
	@$(PY) tools/run_tests.py

check: $(TORCH) lint ## the quick checks, before a commit: lint, types, the quick unit tests
	@$(PY) -m pytest -q -n 2 --dist worksteal -m "not slow" tests

lab: $(TORCH) ## open your own copy of the chapters in JupyterLab (SOLUTIONS=no: without)
	@$(PY) tools/lab.py $(if $(filter no,$(SOLUTIONS)),--no-solutions)

edition: $(READY) ## make the run edition, the chapters for plain Jupyter, in _build/run
	@$(PY) tools/run_edition.py $(if $(filter no,$(SOLUTIONS)),--no-solutions)

edit: $(TORCH) ## open the book's own notebooks in JupyterLab, to change the book
	@$(VENV)/bin/jupyter lab chapters
	@echo "Done: JupyterLab has stopped."

notebooks: $(TORCH) ## execute the notebooks and store them (NOTEBOOKS="a b" for some)
	@$(PY) tools/notebooks.py $(NOTEBOOKS)

explorables: $(READY) ## write the numbers and stills of the living figures again
	@$(PY) tools/living.py

cards: $(READY) ## make the chapters' cards again, from their figures
	@$(PY) tools/cards.py

experiments: $(TORCH) ## run the experiments again and store their tables (EXPERIMENT=one)
	@$(PY) -m experiments $(EXPERIMENT)
	@echo "Done: the tables in experiments/results are new."

coursework: $(TORCH) ## make the editions for students, teachers, Gradescope (KEY=term.key)
	@$(PY) -m coursework.build --key $(KEY) --out dist

bench: $(TORCH) ## measure bnlib, torch, the grader, and the frameworks made
	@$(PY) tools/bench.py
	@$(PY) tools/bench_grader.py
	@$(PY) -m frameworks --kind speed --look

frameworks: $(TORCH) ## run the frameworks of today, compare with bnlib, store the records
	@$(PY) -m frameworks --kind cases --kind listing --group modern --group optional
	@echo "Done: the records in the folders of frameworks are new."

frameworks-legacy: $(TORCH) ## the same for TensorFlow 1, Theano and CNTK (needs Python 3.6)
	@$(PY) -m frameworks --kind cases --kind listing --group legacy
	@echo "Done: the records in the folders of frameworks are new."

lint: $(READY) ## check style, types, and which package imports which
	@$(PY) tools/lint.py

mutants: $(TORCH) ## break bnlib line by line and see that a test notices
	@$(PY) tools/mutants.py

coverage: $(TORCH) ## which lines of the packages no unit test reaches
	@$(PY) -m pytest -q -n 2 --dist worksteal --cov --cov-report=term tests

lock: $(READY) ## resolve requirements.txt anew from pyproject.toml
	@$(PY) tools/lock.py

clean: ## remove what the commands have made, but not the notebooks
	@rm -rf _build .pytest_cache .ruff_cache .hypothesis *.egg-info build
	@find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
	@echo "Done: build products removed ($(VENV) is kept; delete it to start afresh)."
