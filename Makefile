# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Needs python3 (3.11 or newer, with venv), git and a package index for pip. Everything else goes to .venv and .cache.

PYTHON ?= python3
BIN := .venv/main/bin
SECONDS ?= 60
ROUNDS ?= 3
HOSTS ?= 100 400 1600
SIZES ?= 1 10 100 1000 10000
PYTEST := $(BIN)/pytest --numprocesses=auto

# Each of the processes that run the tests would compile them all again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help test full lint unit integration fleet attack matrix sanity bench demo docs build release clean programs venv

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 16

test: programs venv ## Lint and all tests, as CI runs them
	$(PYTEST) tests --cov

full: programs venv ## The same at full size: 2,000 hosts, and each case with the oldest ansible-core, too
	$(PYTEST) tests --cov --full

lint: venv ## Sanity tests of ansible-core and all linters
	$(PYTEST) tests/lint

unit: venv ## Unit tests, with coverage
	$(PYTEST) tests/unit --cov

integration: programs venv ## Tests with real processes
	$(PYTEST) tests/integration

fleet: programs venv ## Tests with sixteen ssh hosts
	$(PYTEST) tests/fleet

attack: programs venv ## Kills, errors, races, fuzzing and hostile servers (SECONDS=60 of fuzzing, PARTS="faults races")
	PYTHONPATH=tests:.collections $(BIN)/python -m attack --seconds $(SECONDS) $(PARTS)

matrix: programs venv ## Every ansible-core by every Python of nodes that is here, into docs/compatibility.md
	PYTHONPATH=tests:.collections $(BIN)/python -m support.matrix

sanity: venv ## ansible-test sanity on a clone, with every ansible-core and every Python that is here, into docs/compatibility.md
	PYTHONPATH=tests:.collections $(BIN)/python -m support.sanity

bench: programs venv ## What the collection costs, as tables: see docs/performance.md (ROUNDS=3 HOSTS="100 400" SIZES="10 1000" PARTS="modules local")
	PYTHONPATH=.:tests:.collections $(BIN)/python -m benchmarks --rounds $(ROUNDS) --hosts "$(HOSTS)" --sizes "$(SIZES)" $(PARTS)

demo: venv ## Show the collection at work on this machine
	@PATH="$(CURDIR)/$(BIN):$$PATH" demo/run

docs: venv ## Write the role's README, the modules' shared return values and the tables of versions, and make the docsite in .cache/docsite
	PYTHONPATH=tests:.collections $(BIN)/python -m support.role_readme
	PYTHONPATH=tests:.collections $(BIN)/python -m support.return_docs
	PYTHONPATH=tests:.collections $(BIN)/python -m support.recorded_table
	PYTHONPATH=tests:.collections $(BIN)/python -m support.docsite

build: venv ## Build the tarball for Galaxy in dist/
	@PYTHONPATH=tests:.collections $(BIN)/python -m support.release build

release: venv ## The same of what is committed, used where nothing but ansible-core is; and the notes for the tag
	@PYTHONPATH=tests:.collections $(BIN)/python -m support.release release

clean: ## Remove all that these targets made
	rm -rf .ansible .cache .collections/ansible_collections/hpc/apptainer .venv dist tests/output

programs:
	@$(PYTHON) tests/support/envs.py programs

venv:
	@$(PYTHON) tests/support/envs.py venv
