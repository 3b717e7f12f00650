# What there is to do with this repository. `make` lists it.

BUN_VERSION := 1.4.5
PYTHON ?= python3
SEEDS ?= 30000
VERSION := $(shell sed -n 's/^  "version": "\(.*\)",$$/\1/p' package.json)

# A bun of exactly this version from PATH, or else one of our own, from npm.
BUN := $(shell [ "$$(bun --version 2>/dev/null)" = "$(BUN_VERSION)" ] && command -v bun)
ifeq ($(BUN),)
BUN := .bun/node_modules/.bin/bun
BUN_STAMP := .bun/$(BUN_VERSION).stamp
endif

BUILD := dist/.build
REPORTS := dist/reports
MODULES_STAMP := node_modules/.install.stamp
VENV_STAMP := .venv/install.stamp
SOURCES := $(shell find src proto -type f) package.json bun.lock Makefile

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install build run verify fix test test-python simulate determinism mutants torture chaos numbers bench compare clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(MODULES_STAMP) ## Install what the lock file says, and bun itself if need be

build: dist/raftkv ## Build the executable, dist/raftkv

run: build ## Run a frontend on port 8001 with a cluster of three; Ctrl-C stops everything
	@exec ./dist/raftkv --start 3

verify: install ## Check types, format, lint and unused code; changes nothing
	$(BUN) check
	$(BUN) fmt --check
	node_modules/.bin/oxlint --deny-warnings
	node_modules/.bin/knip

fix: install ## Format, and mend what the linter can mend
	$(BUN) fmt
	node_modules/.bin/oxlint --fix

# Both suites run whatever the other one says, side by side, for the Python one mostly waits; the last line counts both.
# No test is to fail because a machine is busy. What the shell runs in the background hears no Ctrl-C.
test: build $(VENV_STAMP) ## Run every test; the last line counts them
	@rm -rf $(REPORTS) && mkdir -p $(REPORTS)
	@.venv/bin/python -m pytest tests/python --junitxml=$(REPORTS)/python.xml >$(REPORTS)/python.txt 2>&1 & \
	pytest=$$!; trap 'kill $$pytest' INT TERM; \
	$(BUN) test --timeout 30000 --reporter=junit --reporter-outfile=$(REPORTS)/bun.xml; bun=$$?; \
	wait $$pytest; python=$$?; trap - INT TERM; cat $(REPORTS)/python.txt; \
	$(BUN) tests/summary.ts $(REPORTS)/bun.xml=$$bun $(REPORTS)/python.xml=$$python

test-python: build $(VENV_STAMP) ## Run the Python suite alone
	.venv/bin/python -m pytest tests/python

simulate: build ## Run SEEDS clusters (30000) in virtual time, under every fault; takes a while
	./dist/raftkv simulate --seeds $(SEEDS)

determinism: build ## Run 1000 simulated clusters twice: both must be the same, event by event
	./dist/raftkv simulate --seeds 1000 --replay

mutants: install ## Plant every bug and tell in how many seeds the simulator finds it
	$(BUN) tests/sim/mutant-campaign.ts

torture: build ## Kill, damage and fill up real servers for half an hour; nothing acknowledged may be lost
	$(BUN) tests/cluster/torture.ts

chaos: build ## Ten runs of ten minutes of real servers under every fault, with clients whose history is checked
	$(BUN) tests/cluster/chaos.ts

numbers: build ## Measure the numbers that README.md states; takes minutes
	$(BUN) tests/bench/numbers.ts

bench: build ## Measure throughput and p99 with more servers, keys, clients, larger values; takes ten minutes
	$(BUN) tests/bench/growth.ts

compare: build ## Measure RaftKV beside etcd, which must be installed, and strace; takes ten minutes
	$(BUN) tests/bench/etcd-comparison.ts

clean: ## Remove everything that was made here, but never raft_state/
	rm -rf dist node_modules .venv .bun .pytest_cache
	find tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Built beside the old one and moved over it: servers may be running from that.
dist/raftkv: $(SOURCES) $(MODULES_STAMP)
	@rm -rf $(BUILD) && mkdir -p $(BUILD)
	$(BUN) build src/main.ts --compile --production --minify --sourcemap \
		--no-compile-autoload-dotenv --no-compile-autoload-bunfig \
		--define BUILD_VERSION='"$(VERSION)"' --outfile $(BUILD)/raftkv
	@mv $(BUILD)/raftkv $@ && rm -rf $(BUILD)

# Without a lock file, --frozen-lockfile would install anything and succeed.
$(MODULES_STAMP): package.json $(wildcard bun.lock) $(BUN_STAMP)
	@test -f bun.lock || { echo "bun.lock is missing: restore it with \"git checkout bun.lock\"" >&2; exit 1; }
	$(BUN) install --frozen-lockfile
	@touch $@

# The package's postinstall fetches the executable, where npm may run it; only running bun tells.
.bun/$(BUN_VERSION).stamp:
	@mkdir -p .bun
	npm install --prefix .bun --no-save --no-audit --no-fund bun@$(BUN_VERSION)
	@[ "$$($(BUN) --version 2>/dev/null)" = "$(BUN_VERSION)" ] || node .bun/node_modules/bun/install.js
	@[ "$$($(BUN) --version)" = "$(BUN_VERSION)" ] || { echo "bun $(BUN_VERSION) does not run here: see .bun/" >&2; exit 1; }
	@touch $@

$(VENV_STAMP): tests/python/requirements.txt
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
