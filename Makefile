# `make` lists the targets. VENV, PYTHON, DEMO and CLUSTER may be set: make demo PYTHON=python3.12
# docker/README.md has what the images' targets take.
PYTHON ?= python3.11
VENV ?= .venv
DEMO ?= examples/azure-dog.yaml
CLUSTER ?= dreambooth
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
VERSION := $(shell sed -n 's/__version__ = "\(.*\)"/\1/p' runner/__init__.py)

ENGINE ?= $(firstword $(foreach engine,docker podman buildah,$(if $(shell command -v $(engine)),$(engine))))
BUILD ?= $(ENGINE) build
LOCK ?= cuda
BASE ?= $(if $(filter cpu,$(LOCK)),python:3.11-slim-bookworm)
CLI_BASE ?=
TRAIN_IMAGE ?= dreambooth-train:$(VERSION)
CLI_IMAGE ?= dreambooth-cli:$(VERSION)
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
test test-slow test-cluster: export OMP_NUM_THREADS ?= 1

test: $(STAMP) ## everything that needs neither a cluster nor a GPU
	$(BIN)/pytest -m 'not slow and not cluster and not gpu' $(ARGS)

test-slow: $(STAMP) ## minutes of CPU: full-size configurations, the demo's floors
	$(BIN)/pytest -m 'slow' $(ARGS)

test-cluster: $(STAMP) ## on the cluster that RUNNER_TEST_KUBECONFIG names, with the images of RUNNER_TEST_IMAGE and RUNNER_TEST_FOLLOW_IMAGE
	$(BIN)/pytest -m 'cluster and not slow' tests/cluster $(ARGS)

lint: $(STAMP) ## ruff, hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint docker/*.Dockerfile

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

# Both images say what they were built from; indexes are passed on only when they are set.
IMAGE_ARGS = $(foreach arg,VERSION=$(VERSION) REVISION=$(shell git rev-parse HEAD) \
	$(foreach index,PIP_INDEX_URL PIP_EXTRA_INDEX_URL,$(if $($(index)),$(index)=$($(index)))),--build-arg $(arg))

images: ## build the images of jobs and of the command line
	$(BUILD) . -f docker/train.Dockerfile -t $(TRAIN_IMAGE) $(IMAGE_ARGS) --build-arg LOCK=$(LOCK) \
		$(if $(BASE),--build-arg BASE=$(BASE))
	$(BUILD) . -f docker/cli.Dockerfile -t $(CLI_IMAGE) $(IMAGE_ARGS) $(if $(CLI_BASE),--build-arg BASE=$(CLI_BASE))

image-test image-waste sbom: export ENGINE := $(ENGINE)

image-test: ## ask each image what it promises
	docker/engine.sh run $(TRAIN_IMAGE) python - train < docker/check.py
	docker/engine.sh run $(CLI_IMAGE) python - cli < docker/check.py

image-waste: $(STAMP) ## fail when layers hold what later ones hide
	@mkdir -p build
	for image in $(TRAIN_IMAGE) $(CLI_IMAGE); do \
		rm -f build/image.tar; \
		docker/engine.sh save $$image build/image.tar \
		&& CI=true $(BIN)/dive --source docker-archive --ci-config docker/dive.yaml build/image.tar || exit 1; \
	done
	rm -f build/image.tar

sbom: ## write each image's bill of materials into dist/
	@mkdir -p dist
	docker/engine.sh run $(TRAIN_IMAGE) cat /usr/share/sbom/runner.cdx.json > dist/train.cdx.json
	docker/engine.sh run $(CLI_IMAGE) cat /usr/share/sbom/runner.cdx.json > dist/cli.cdx.json

# The other locks are held to the versions of cuda.txt. UPGRADE=--upgrade moves everything to the newest versions that fit.
# uv knows where PyTorch keeps its CPU builds; where pip is told to find them on this machine, uv is told too.
COMPILE = $(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--custom-compile-command 'make lock' $(UPGRADE)
TORCH_CPU ?= $(or $(foreach place,$(PIP_FIND_LINKS),--find-links $(place)),--torch-backend cpu)

lock: $(STAMP) ## resolve what the images install, with hashes
	$(COMPILE) pyproject.toml --extra train --extra cuda --output-file docker/lock/cuda.txt
	$(COMPILE) pyproject.toml --extra train --constraint docker/lock/cuda.txt $(TORCH_CPU) --output-file docker/lock/cpu.txt
	$(COMPILE) pyproject.toml --constraint docker/lock/cuda.txt --output-file docker/lock/cli.txt
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		| $(COMPILE) docker/lock/build.in - --output-file docker/lock/build.txt

wheel: $(STAMP) ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove what was built; runs and virtual environment stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.PHONY: help setup demo test test-slow test-cluster lint fmt type golden check cluster-up cluster-down images image-test image-waste sbom lock wheel \
	clean
