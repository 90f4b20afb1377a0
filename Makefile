# run · test · fmt · clean, and nothing clever. Everything that a fresh machine lacks is installed by
# deploy/tools/setup.sh into .tools/, pinned.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export CARGO_INCREMENTAL ?= 1
WEB_DIST := web/app/dist/index.html
WEB_SOURCES := $(shell find web -type f \( -name '*.ts' -o -name '*.tsx' -o -name '*.css' -o -name '*.html' -o -name '*.json' \) -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '*/e2e/artifacts/*' 2>/dev/null)

.PHONY: help run run-nats test autobahn instructions microbench bench bench-nats fuzz fmt clean web setup-test check-rust check-web test-rust test-web test-python test-e2e

help: ## Says what there is
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Embedded mode: one process with /chat, development users and channels, data in ./data
	@deploy/tools/check-tools.sh cargo node npm
	@[ -x target/release/standalone ] || echo "The first build takes some minutes; later starts take seconds."
	@$(MAKE) --no-print-directory web
	cargo build --release --locked -p standalone
	DEBUG=$${DEBUG:-true} exec target/release/standalone

run-nats: ## On NATS: nats-server, two gateways, two workers and a load balancer on port 8000, data in ./data/nats
	@deploy/tools/check-tools.sh cargo node npm go python3
	deploy/tools/setup.sh nats haproxy
	@$(MAKE) --no-print-directory web
	cargo build --release --locked -p gateway -p worker
	deploy/tools/run-nats.sh

web: $(WEB_DIST) ## Builds the page that the binary serves

$(WEB_DIST): $(WEB_SOURCES)
	cd web && npm ci --no-audit --no-fund && npm run build
	@touch $@

test: setup-test web check-rust check-web test-rust autobahn instructions test-web test-python test-e2e ## Every suite, on real servers
	@echo "make test: every suite passed"

setup-test:
	deploy/tools/setup.sh chromium cargo-deny python strace valgrind nats haproxy

check-rust:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	.tools/bin/cargo-deny --locked check bans licenses sources

check-web:
	cd web && npm run check

test-rust:
	cargo build --workspace --bins --locked
	cargo test --workspace --locked

autobahn: ## The Autobahn cases against connection and frame codec
	deploy/tools/setup.sh python
	cargo build --locked -p gateway --example echo
	.tools/python/bin/python gateway/tests/autobahn/run.py target/debug/examples/echo

instructions: ## Counts the hot path's instructions and allocations against the stored ones
	deploy/tools/setup.sh valgrind
	cargo build --release --locked -p gateway --features workload --example instructions
	python3 gateway/tests/instructions.py target/release/examples/instructions $(UPDATE)

microbench: ## Criterion: wall time of codec, encode, hub and log append
	cargo bench --locked -p gateway --features workload --bench hot_path
	cargo bench --locked -p broker --bench append

fuzz: ## Fuzzes frame codec and frame decoder, FUZZ_SECONDS each (60)
	deploy/tools/fuzz.sh

bench: ## Measures against the gates and goals, writes loadtest/RESULTS.md (twenty minutes, two idle cores)
	cargo build --release --locked -p standalone -p loadtest
	python3 loadtest/bench.py --pairs $${PAIRS:-9}

bench-nats: ## Measures on NATS, writes loadtest/RESULTS-NATS.md (forty minutes, two idle cores)
	deploy/tools/setup.sh nats
	cargo build --release --locked -p standalone -p gateway -p worker -p loadtest
	python3 loadtest/bench_nats.py --rounds $${ROUNDS:-5} --pairs $${PAIRS:-9}

test-web:
	cd web && npm test

test-python: 
	cargo build --locked -p standalone -p loadtest -p gateway -p worker
	.tools/python/bin/python -m pytest -q deploy/standalone/tests/python

test-e2e:
	cd web && STANDALONE_BIN=$(CURDIR)/target/debug/standalone npm run e2e

fmt: ## Formats everything
	cargo fmt --all

clean: ## Removes what was built, not the data
	rm -rf target web/app/dist web/node_modules
