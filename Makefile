# `make run`, `make test` and `make check` make .venv from the lock first, if it is missing or the lock has changed.
# Nothing else needs to be set up. make's own exit status is 2 for every failure of a command.

PYTHON ?= python3.11
CONFIG ?= configs/runs/tiny_gpt2_en_lora.yaml
RUNNER ?= local
ARGS ?=
IMAGE ?=
VARIANT ?= cpu
DOCKER ?= docker
# Processes that share the tests, file by file; each takes up to 4 GiB.
TEST_PROCESSES ?= 2

VENV := .venv
BIN := $(VENV)/bin
# In the environment, because executors and Beam workers are processes of their own.
WITH_PATH := PYTHONPATH='$(CURDIR)'

.DEFAULT_GOAL := help
.PHONY: help run test test-slow bench bench-training fuzz check audit sbom lock image clean venv venv-dev venv-jax venv-cuda venv-tpu

help: ## Show this list.
	@echo 'Usage: make TARGET [CONFIG=$(CONFIG)] [RUNNER=$(RUNNER)] [ARGS=...]'
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' Makefile | expand -t 14

run: venv ## Run the pipeline of CONFIG on RUNNER; ARGS are further options of `python -m pipeline run`.
	$(WITH_PATH) $(BIN)/python -m pipeline run $(CONFIG) --runner $(RUNNER) $(ARGS)

test: venv-dev ## Run the tests but for the slow ones; ARGS go to pytest.
	$(WITH_PATH) $(BIN)/pytest -m 'not slow' -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: venv-dev ## Run the slow tests: whole runs on real data and on a real database server.
	$(WITH_PATH) $(BIN)/pytest -m slow $(ARGS)

bench: venv-dev ## Run the benchmarks that need no data but the project's own; takes an hour. Results: tests/benchmarks/results/.
	$(WITH_PATH) $(BIN)/python tests/benchmarks/token_cleaning.py sample
	$(WITH_PATH) $(BIN)/python tests/benchmarks/target_projection.py

bench-training: venv-dev ## Compare the Trainer with other libraries; ARGS: see tests/benchmarks/training_speed.py --help.
	$(WITH_PATH) $(BIN)/python tests/benchmarks/training_speed.py $(ARGS)

fuzz: venv-dev ## Look for inputs that the product cannot take; ARGS: a target and options, see tests/fuzz/fuzz.py --help.
	$(WITH_PATH) $(BIN)/python tests/fuzz/fuzz.py $(ARGS)

check: venv-dev ## Check style, format and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: venv-dev ## Hold the locks against the known vulnerabilities of api.osv.dev; ARGS go to pip-audit.
	@$(BIN)/python -c 'import requests, sys; requests.post(sys.argv[1], json={}, timeout=20)' '$(OSV_URL)' 2>/dev/null || { \
	  echo 'make audit asks $(OSV_URL), which this machine cannot reach. A mirror: make audit OSV_URL=...' >&2; exit 1; }
	$(BIN)/pip-audit --vulnerability-service osv --osv-url '$(OSV_URL)' --no-deps --disable-pip --progress-spinner off \
	  $(addprefix --requirement ,$(LOCKS)) $(addprefix --ignore-vuln ,$(AUDIT_ACCEPTED)) $(ARGS)

sbom: venv-dev ## List what IMAGE holds (without IMAGE: .venv), with versions and licences: build/sbom.cdx.json (CycloneDX).
	@mkdir -p build
	SYFT_CHECK_FOR_APP_UPDATE=false $(BIN)/syft scan '$(or $(IMAGE),dir:$(VENV))' --source-name lm-fine-tuning \
	  --source-version '$(CODE_VERSION)' --override-default-catalogers $(SBOM_OF) --output cyclonedx-json=build/sbom.cdx.json

lock: venv-dev ## Write the locks anew from requirements*.in; ARGS=--upgrade takes the newest versions.
	$(UV_COMPILE) --override requirements-overrides.txt requirements.in -o requirements.txt
	$(UV_COMPILE) requirements-jax.in -o requirements-jax.txt
	$(UV_COMPILE) -c requirements-jax.txt requirements-dev.in -o requirements-dev.txt
	$(UV_COMPILE) requirements-cuda.in -o requirements-cuda.txt
	$(UV_COMPILE) requirements-tpu.in -o requirements-tpu.txt

image: ## Build the container image IMAGE=registry/name:tag. VARIANT: cpu, jax, cuda or tpu; see docs/image.md.
	@case '$(notdir $(IMAGE))' in ?*:?*) ;; *) \
	  echo "IMAGE must be a name with a tag: make image IMAGE=registry/name:tag. Received: '$(IMAGE)'." >&2; exit 1;; esac
	@case '$(VARIANT)' in cpu|jax|cuda|tpu) ;; *) \
	  echo "VARIANT must be cpu, jax, cuda or tpu. Received: '$(VARIANT)'." >&2; exit 1;; esac
	@command -v '$(DOCKER)' >/dev/null || { \
	  echo "Docker is needed, and there is no command '$(DOCKER)'. Install it, or name what does the same: make DOCKER=podman ..." >&2; \
	  exit 1; }
	$(DOCKER) build --platform linux/amd64 --build-arg VARIANT=$(VARIANT) --build-arg CODE_VERSION=$(CODE_VERSION) -t $(IMAGE) .

clean: ## Remove caches and build/. Keeps .venv and runs/.
	rm -rf build .mypy_cache .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The head of the locks names this command: with uv's own, paths and options of one machine would stand there.
UV_COMPILE = $(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --custom-compile-command 'make lock' \
  --excludes requirements-excludes.txt $(ARGS)

# What is installed, not what lies about: files of packages may hold other packages' manifests.
SBOM_OF := python-installed-package-cataloger,dpkg-db-cataloger,binary-classifier-cataloger
LOCKS := requirements.txt requirements-jax.txt requirements-cuda.txt requirements-tpu.txt requirements-dev.txt
OSV_URL ?= https://api.osv.dev/v1/query
# Known vulnerabilities that cannot be reached here, each with its reason in docs/supply_chain.md.
AUDIT_ACCEPTED := GHSA-rgxp-2hwp-jwgg

# The commit; `-dirty` behind it if the files are not the commit's.
CODE_VERSION = $(or $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null),unknown)

# An environment is good if the copy of the lock that a finished installation left in it is the lock.
define install
	@cmp -s $(1) $(VENV)/$(1) || { \
	  command -v $(PYTHON) >/dev/null || { \
	    echo "CPython 3.11 is needed, and there is no command '$(PYTHON)'." \
	      "Install it (Debian 12: apt-get install python3.11-venv python3.11-dev), or name it: make PYTHON=/path/to/python3.11 ..." >&2; \
	    exit 1; }; \
	  $(PYTHON) -I pipeline/environment.py $(VENV) $(1); }
endef

venv:
	$(call install,requirements.txt)

venv-dev: venv
	$(call install,requirements-dev.txt)

venv-jax: venv ## Add the JAX backend for CPUs to .venv (`train.backend: jax`).
	$(call install,requirements-jax.txt)

venv-cuda: venv ## Add TensorFlow's and JAX's libraries for NVIDIA GPUs to .venv.
	$(call install,requirements-cuda.txt)

venv-tpu: venv ## Add the JAX backend for TPUs to .venv.
	$(call install,requirements-tpu.txt)
