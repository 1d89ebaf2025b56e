# `make up` and `make test` need Python 3.11 or later and make, nothing else.
# Every target is repeatable: what is done already is not done again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PROTOS := $(shell find proto -name '*.proto' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help setup up down test sim sim-determinism sim-safeguards lint types format proto lock clients conformance chaos bench-kv bench-kv-latency bench-rpc bench-lock bench-storage peers soak-storage base-image wheels image compose-test ci clean

# What the image stands on. Where no registry of images can be reached: make base-image wheels image BASE=orrery-base:local
BASE ?= python:3.11-slim
IMAGE ?= orrery:local

help: ## show what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMPS)/proto ## make the virtual environment, install the locked dependencies, generate the stubs

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: Python 3.11 or later is needed; $(PYTHON) is $$($(PYTHON) --version). Set PYTHON=..." >&2; exit 1; }
	@echo "setup: creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "make: python's venv module is missing; on Debian: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(STAMPS)/dependencies: requirements/dev.lock pyproject.toml | $(BIN)/python
	@echo "setup: installing the locked dependencies (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/proto: $(STAMPS)/dependencies $(PROTOS) tools/proto.py
	@echo "setup: generating gRPC stubs"
	@$(BIN)/python tools/proto.py
	@touch $@

proto: $(STAMPS)/proto ## generate the gRPC stubs into cluster/pb (done by setup, too)

up: setup ## start the cluster as local processes, and print how to reach it
	@$(BIN)/orrery up --detach

down: setup ## stop the local cluster
	@$(BIN)/orrery down

# How many processes share the tests: all cores, or so many (WORKERS=1: one after another, in this one).
WORKERS ?= auto

test: setup ## the fast tests: unit, property and simulation, on all cores (WORKERS=2)
	@$(BIN)/python -m pytest -q --numprocesses $(if $(filter 1,$(WORKERS)),0,$(WORKERS)) --maxprocesses 8 --dist worksteal

# How many seeds of each scenario `make sim` plays.
SEEDS ?= 1..4

sim: setup ## play every scenario (SEEDS=1..4), each seed twice, and every safeguard taken away
	@failed=; for scenario in $$($(BIN)/python -c 'from orrery.sim.scenarios import SCENARIOS; print(*SCENARIOS)'); do \
	  echo; echo "$$scenario"; \
	  $(BIN)/orrery sim run --scenario $$scenario --seeds $(SEEDS) || failed="$$failed $$scenario"; \
	done; test -z "$$failed" || { echo "sim: failed:$$failed" >&2; exit 1; }
	@$(MAKE) --no-print-directory sim-determinism sim-safeguards

sim-determinism: setup ## 50 seeds of kv, each in two processes with different hash seeds: equal traces
	@$(BIN)/orrery sim determinism --scenario kv --seeds 1..50

sim-safeguards: setup ## takes one safeguard after another away; a judge must find a seed that shows it
	@$(BIN)/orrery sim safeguards

lint: setup ## ruff, and import-linter for the floors
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/lint-imports

types: setup ## mypy --strict
	@$(BIN)/mypy

format: setup ## rewrite the sources in the house's format
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

lock: $(STAMPS)/dependencies ## resolve the lock files anew from pyproject.toml (names, versions and hashes only)
	@tools/lock

clients: build/clients/.stamp ## make the environment of other people's clients, for the conformance suites

build/clients/.stamp: requirements/clients.lock
	@echo "clients: installing other people's clients"
	@rm -rf build/clients && mkdir -p build
	@$(PYTHON) -m venv build/clients
	@build/clients/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

conformance: setup clients ## real clients against a running cluster, compared with etcd (needs etcd-server, etcd-client)
	@$(BIN)/python -m pytest -q tests/conformance

chaos: setup ## kill, pause and restart real processes under traffic, and judge the history
	@$(BIN)/python -m pytest -q -rP tests/chaos

base-image: ## make the local base image orrery-base:local by debootstrap (needs root; no registry of images)
	@deploy/base-image orrery-base:local

wheels: setup ## put the locked packages into build/wheels, for an image built without a registry of packages
	@deploy/wheels $(BASE)

image: ## build the image (BASE=... names another base image)
	@docker build --quiet --build-arg BASE=$(BASE) --file deploy/Dockerfile --tag $(IMAGE) .

compose-test: image setup ## build the image, start the compose cluster, kill containers, and look for the data
	@ORRERY_IMAGE=$(IMAGE) ORRERY_BASE=$(BASE) $(BIN)/python -m pytest -q tests/compose

bench-kv: setup ## what three nodes carry: Orrery, Orrery on grpcio, etcd (needs etcd-client; etcd-server to compare)
	@$(BIN)/python -m bench.kv

bench-kv-latency: setup ## what one write by itself takes: Orrery, and etcd beside it (needs etcd-server to compare)
	@$(BIN)/python -m bench.kv.latency

bench-rpc: setup ## the RPC engines side by side: table and plot in build/bench-rpc (needs h2load)
	@$(BIN)/python -m bench.rpc

peers: build/peers/.stamp ## make the environment of other people's storage engines, for bench-storage

build/peers/.stamp: requirements/peers.lock
	@echo "peers: installing other people's storage engines"
	@rm -rf build/peers && mkdir -p build
	@$(PYTHON) -m venv build/peers
	@build/peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

bench-storage: setup peers ## the storage engines beside RocksDB and LMDB: table and plot in build/bench-storage (KEYS=1000000)
	@$(BIN)/python -m bench.storage $(if $(KEYS),--keys $(KEYS))

soak-storage: setup ## a million keys of random operations on the engines, against a dict (minutes)
	@$(BIN)/python -m bench.soak_storage
	@$(BIN)/python -m bench.soak_storage --keys 300000 --wal --tiered
	@$(BIN)/python -m bench.storage.soak btree

bench-lock: setup ## what a lock costs: Orrery, and etcd's recipe in Python on etcd (needs etcd-server to compare)
	@$(BIN)/python -m bench.lock

ci: ## everything that must hold before a change lands
	@.ci/run

clean: ## remove the virtual environment and everything generated
	rm -rf $(VENV) cluster/pb build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
