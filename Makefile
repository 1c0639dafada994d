# Targets for people; `make` alone lists them. Each one makes .venv first when it is missing or older than
# requirements.txt, and otherwise touches no network.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
# DVC runs the stages with the `python` it finds first.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# DVC wants the name of the user, which `docker run --user 1234` does not give.
export USER := $(or $(USER),$(shell id -un 2>/dev/null),$(shell id -u))

READY := .venv/requirements.txt

PIP := .venv/bin/python -m pip install $(if $(CI),--quiet) --disable-pip-version-check
ifeq ($(TORCH),cpu)
# PyTorch has builds without CUDA in an index of its own, which uv knows. requirements.txt has CUDA's packages, so here it only
# says which versions are allowed. The size was not measured.
SIZE := about 2 GB
INSTALL := $(PIP) --constraint requirements.txt uv && .venv/bin/uv pip install --python .venv/bin/python --torch-backend cpu \
	--constraint requirements.txt --requirements pyproject.toml --group dev
else
SIZE := 6 GB
INSTALL := $(PIP) --requirement requirements.txt
endif

.PHONY: help setup demo repro experiment predict report study study-list test test-all test-gpu torture bench lint format pr-report same lock clean

##@ Start
help: ## list the targets
	@awk -F ':.*## ' '/^##@ / { print "\n" substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
setup: $(READY) ## make .venv with the packages of requirements.txt; TORCH=cpu: without CUDA

# The copy of requirements.txt is written last, so a set-up that was interrupted starts again. Not `venv --clear`: where
# .venv is a link, it empties what the link points to.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	@echo "Installing the packages of requirements.txt into .venv, most of it PyTorch: $(SIZE) on disk, a few minutes"
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(INSTALL)
	.venv/bin/python -c "$$ON_PATH"
	cp requirements.txt $(READY)

# Python runs a .pth file at its start. With this one, `.venv/bin/dvc repro` works without activation too: DVC runs the
# stages with the `python` that it finds first on PATH.
define ON_PATH
import pathlib, site
code = ("import os, sys; bin = os.path.join(sys.prefix, 'bin'); path = os.environ.get('PATH', os.defpath); "
        "os.environ['PATH'] = path if path.split(os.pathsep)[0] == bin else bin + os.pathsep + path")
pathlib.Path(site.getsitepackages()[0], "path.pth").write_text(code + "\n")
endef
export ON_PATH

demo: $(READY) ## the whole pipeline on built-in digits, offline, on a CPU, in minutes; results in demo/
	python -m scripts.experiment presets/demo demo

##@ The pipeline and its experiments
repro: $(READY) ## the pipeline with the values of params.yaml: CIFAR-10 at 32 pixels, about an hour on two CPU cores
	python -m dvc repro

experiment: $(READY) ## a preset as a DVC experiment, results in experiments/: make experiment PRESET=presets/paper
	$(if $(PRESET),,$(error which one? make experiment PRESET=presets/paper; there are: $(wildcard presets/*)))
	python -m scripts.experiment '$(PRESET)'

GRID ?= study/grid.yaml
SCALE ?= presets/study-cpu
STUDY := python -m study '$(SCALE)' --grid '$(GRID)' $(if $(ROUNDS),--rounds '$(ROUNDS)')
study: $(READY) ## run what is left of the study, tables and figures in docs/; GRID=, SCALE=, ROUNDS=
	$(STUDY)

study-list: $(READY) ## what of the study is done and what is left
	@$(STUDY) --list

##@ The results
MODEL ?= $(firstword $(wildcard models/vgg16.safetensors demo/models/vgg16.safetensors) models/vgg16.safetensors)
predict: $(READY) ## the classes of pictures, from VGG16: make predict IMAGES='cat.jpg holiday/'
	$(if $(IMAGES),,$(error which pictures? make predict IMAGES='cat.jpg holiday/'))
	@python -m scripts.predict '$(MODEL)' $(IMAGES)

report: $(READY) ## the results as one HTML page, report.html: make report [EXPERIMENT=name]
	@python -m scripts.report $(if $(EXPERIMENT),'$(EXPERIMENT)')

BASE ?= main
pr-report: $(READY) ## what a pull request changes, as Markdown: make pr-report BASE=main
	@python -m scripts.pr_report '$(BASE)'

##@ The code
STOPS ?= 100
PYTEST := python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
test: lint ## lint, types, and the tests that a change needs
	$(PYTEST)

test-all: lint ## the same with the long tests and more random examples; CI runs this every night
	$(PYTEST) -m '' --hypothesis-profile=long

test-gpu: $(READY) ## tests that need a GPU: training, determinism, resume, comparison with the CPU
	python -m pytest -m gpu tests/gpu

torture: $(READY) ## stop a training stage a hundred times, compare bytes; CIFAR10_URL=... for CIFAR-10, STOPS=N
	python -m tests.torture --stops $(STOPS)

same: $(READY) ## whether HEAD computes the same bytes as another commit: make same BASE=main
	python -m scripts.same '$(BASE)'

lint: $(READY) ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

format: $(READY) ## let ruff mend what it can
	ruff check --fix .
	ruff format .

bench: $(READY) ## training speed against two other ways and the machine's limits, into docs/benchmarks.md
	python -m benchmarks

lock: $(READY) ## newest versions that pyproject.toml allows, into requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --group dev --no-annotate --no-emit-index-url \
		--no-emit-find-links --upgrade --custom-compile-command "make lock" pyproject.toml --output-file requirements.txt

clean: ## remove .venv, caches of tools and copies of results (not DVC's cache)
	[ ! -x .venv/bin/python ] || .venv/bin/python -m scripts.results demo experiments/*
	rmdir experiments 2>/dev/null || true
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
