# `make up` and `make test` do everything; the rest are the fast loops. STACK=lab unless said otherwise.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
STACK ?= lab
export STACK
LAB := LAB=$(STACK) lab/lab
PULUMI_RUN := tools/engine
# Resources at a time. The nodes of a lab share this machine with the program: what starts all at once starts late.
PARALLEL ?= $(if $(filter lab small,$(STACK)),8,32)
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
# RERUNS=1: a test on processes or nodes that failed is run once more and listed as RERUN in the summary. Every one so far was a defect.
RERUNS ?=
REAL := $(PYTEST) --durations 20$(if $(RERUNS), --reruns $(RERUNS) -rR)
# Files side by side: most of their time is waiting.
ASIDE := -n 3 --dist loadfile

.PHONY: help bootstrap up ask doctor preview down import-model pulumi backups restore fmt check lint types unit golden docs test test-local test-cluster chaos audit bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

bootstrap: ## Python environment and pinned toolchain
	@tools/bootstrap

up: bootstrap ## lab, stack, `pulumi up`, then the URL and a first answer
	@$(LAB) up
	@$(PY) -m tools.import_model "$$($(LAB) model)"
	@$(PULUMI_RUN) up --yes --non-interactive --skip-preview --parallel $(PARALLEL)
	@$(PY) -m tools.ask

ask: ## one more question to the running service
	@$(PY) -m tools.ask

doctor: bootstrap ## how the whole stack is; exit code 0 fine, 1 look, 2 urgent (ARGS='--json', '--ask')
	@$(PY) -m tools.doctor $(ARGS)

preview: bootstrap ## what `up` would change; contacts every node
	@$(PULUMI_RUN) preview --non-interactive --diff --parallel $(PARALLEL)

import-model: bootstrap ## put MODEL=FOLDER onto the storage node, or onto every worker
	@$(PY) -m tools.import_model "$(MODEL)"

pulumi: bootstrap ## any engine command: make pulumi ARGS='preview --expect-no-changes'
	@$(PULUMI_RUN) $(ARGS)

backups: bootstrap ## the backups of etcd and where they are
	@$(PY) -m tools.restore_etcd --list

restore: bootstrap ## take the cluster back to SNAPSHOT=FILE|NAME|latest; KEY=FILE if the state has no backupKey
	@$(PY) -m tools.restore_etcd "$(SNAPSHOT)" $(if $(KEY),--key "$(KEY)")

down: ## remove the lab and all it made on this machine
	@$(LAB) down

fmt: ## format Python
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

check: bootstrap ## format, lint, types, unit, golden, graph and policy tests; under a minute
	@$(MAKE) --no-print-directory -j 3 --output-sync=target lint types unit # side by side: each uses one core

lint:
	@.venv/bin/ruff format --check . && .venv/bin/ruff check .
	@git ls-files -co --exclude-standard '*.sh' tools/bootstrap tools/engine tools/test-packages tools/audit .ci/run | sort -u | xargs .venv/bin/shellcheck

types:
	@.venv/bin/mypy

unit:
	@$(PYTEST) -q tests/unit tests/golden tests/graph tests/policy

golden: ## rewrite the golden files; read the diff
	@UPDATE_GOLDEN=1 $(PYTEST) -q tests/golden

docs: ## regenerate the config reference, the capacity tables, the open ports and the index of runbooks
	@$(PY) -m components.settings.reference > docs/config.md
	@$(PY) -m components.observability.alerts > docs/runbooks/README.md
	@$(PY) -m components.capacity > docs/capacity.md
	@$(PY) -m components.hosts.open_ports > docs/open-ports.md

test: check test-local test-cluster ## everything that needs no GPU, on real nodes too

test-local: bootstrap
	@tools/test-packages
	@tools/build --group lab >/dev/null
	@$(REAL) $(ASIDE) tests/provider tests/engine tests/webui tests/modelcache

test-cluster: bootstrap
	@tools/test-packages
	@$(REAL) tests/cluster

chaos: bootstrap ## every fault: 20 kills of `pulumi up` and of control planes, drivers, model store, load; hours
	@tools/test-packages
	@$(PYTEST) tests/cluster --chaos full -s

audit: bootstrap ## Checkov over every object of the checked-in stacks, each exception with its reason; minutes
	@tools/audit

bench: bootstrap ## side by side with Ansible and pyinfra
	@tools/test-packages
	@$(PY) -m bench.hosts

clean: ## what this checkout made for itself; not the lab, not the caches
	rm -rf .venv .toolchain .mypy_cache .ruff_cache .pytest_cache
