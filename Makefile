# `make` lists the targets. VENV, PYTHON, DEMO and CLUSTER may be set: make demo PYTHON=python3.12
PYTHON ?= python3.11
VENV ?= .venv
DEMO ?= examples/azure-dog.yaml
CLUSTER ?= dreambooth
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the virtual environment and install everything into it

# torch first and by its exact version, so that every later requirement finds it already met.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[train,local-s3,dev]'
	@touch $@

demo: $(STAMP) ## the main job: photos in, personalised model and pictures out
	$(BIN)/runner submit $(DEMO)

# One thread each: two that spin beside another process are ten times slower than one.
test test-slow: export OMP_NUM_THREADS ?= 1

test: $(STAMP) ## everything that needs neither a cluster nor a GPU
	$(BIN)/pytest -m 'not slow and not cluster and not gpu' $(ARGS)

test-slow: $(STAMP) ## minutes of CPU: full-size configurations, the demo's floors
	$(BIN)/pytest -m 'slow' $(ARGS)

lint: $(STAMP) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

fmt: $(STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

type: $(STAMP) ## mypy, strict
	$(BIN)/mypy

golden: $(STAMP) ## write the golden Kubernetes Jobs anew; read the difference before committing it
	$(BIN)/python -m tests.unit.executors.kubernetes.cases

check: lint type test ## what every commit passes

cluster-up: ## a Kubernetes on this machine (needs kind and docker), with k8s/overlays/kind in it
	@command -v kind >/dev/null || { echo "cluster-up: there is no kind on the PATH; install it (kind.sigs.k8s.io) and try again" >&2; exit 1; }
	@command -v kubectl >/dev/null || { echo "cluster-up: there is no kubectl on the PATH; install it and try again" >&2; exit 1; }
	@docker info >/dev/null 2>&1 || { echo "cluster-up: docker is missing or not running; kind's nodes are its containers" >&2; exit 1; }
	@kind get clusters 2>/dev/null | grep -qx $(CLUSTER) || kind create cluster --name $(CLUSTER) --config k8s/kind/cluster.yaml --wait 120s
	kubectl --context kind-$(CLUSTER) apply -k k8s/overlays/kind

cluster-down: ## remove what cluster-up made
	@command -v kind >/dev/null || { echo "cluster-down: there is no kind on the PATH, so there is no cluster of it" >&2; exit 1; }
	kind delete cluster --name $(CLUSTER)

wheel: $(STAMP) ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove what was built; runs and virtual environment stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.PHONY: help setup demo test test-slow lint fmt type golden check cluster-up cluster-down wheel clean
