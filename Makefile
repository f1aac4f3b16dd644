# The words a person types. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup wasm-target envoy wasm build fmt fmt-check lint doc deny-tool deny test bless demo demo-build cluster cluster-test conformance bench bench-cluster clean clean-all

# Arguments for `make demo` and `make bench`, such as ARGS=--once.
ARGS ?=

TOOLS := $(CURDIR)/.windrose/tools
CARGO_DENY_VERSION := 0.20.2
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
WASM_TARGET := wasm32-wasip1
FILTERS := -p windrose-filter-kit -p windrose-filter-shell -p windrose-jwt-auth -p windrose-rate-limit -p windrose-grpc-transcoder

# $(call step,NAME,COMMAND): runs the command and says how long it took.
step = @printf '\n== %s\n' '$(1)'; SECONDS=0; $(2); printf '== %s: %d s\n' '$(1)' "$$SECONDS"

# Before a command that needs Envoy: the fetched one, or the one that was named, checked.
WITH_ENVOY = ENVOY="$$(./envoy-config/fetch-envoy.sh)"; export ENVOY;

# Before a command that starts the server: the one that was just built, so that no test builds it again.
WITH_WINDROSE = WINDROSE_BIN='$(TARGET)/debug/windrose'; export WINDROSE_BIN;

help: ## this list
	@printf 'Windrose: one control plane for the API gateway and the service mesh.\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nENVOY=/path/to/envoy uses that binary instead of fetching the pinned one.\n'

setup: ## check the machine for what the build needs, and get what is missing
	$(call step,setup,./tests/setup.sh)

wasm-target:
	@./tests/setup.sh wasm-target

envoy: ## fetch the pinned stock Envoy into .windrose/ and print its path
	@./envoy-config/fetch-envoy.sh

wasm: wasm-target ## build the Wasm filters
	$(call step,wasm,./wasm-filters/build.sh)

build: ## build everything native, tests included
	$(call step,build,cargo build --workspace --all-targets)

fmt: ## format the sources
	@cargo fmt --all

fmt-check:
	$(call step,fmt,cargo fmt --all --check)

lint: wasm-target ## clippy, warnings are errors: native, and the filters as Wasm
	$(call step,clippy,cargo clippy --workspace --all-targets -- -D warnings)
	$(call step,clippy for the stories of a cluster,cargo clippy --workspace --test cluster -- -D warnings)
	$(call step,clippy for $(WASM_TARGET),cargo clippy $(FILTERS) --target $(WASM_TARGET) -- -D warnings)

doc: ## documentation of all crates, warnings are errors
	$(call step,doc,RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps)

deny-tool:
	@./tests/setup.sh cargo-deny $(CARGO_DENY_VERSION) $(TOOLS)

deny: deny-tool ## licences, sources and duplicates of all dependencies; advisories where they can be reached
	$(call step,deny,./tests/deny.sh)

test: setup envoy fmt-check deny wasm lint doc build ## everything, with the real Envoy, and the demonstration once
	$(call step,test,$(WITH_ENVOY) $(WITH_WINDROSE) cargo test --workspace --no-fail-fast)
	$(call step,demo,$(WITH_ENVOY) $(WITH_WINDROSE) '$(TARGET)/debug/demo' --once)

bless: ## rewrite the golden files of tests/cases and what is generated from the code; then read the diff
	$(call step,bless,$(WITH_ENVOY) BLESS=1 cargo test --workspace --no-fail-fast --test pipeline --test tidy --test schemas --test files --test render)

demo: setup envoy demo-build ## walk through the product on real Envoys (ARGS=--once: unattended)
	@$(WITH_ENVOY) $(WITH_WINDROSE) exec '$(TARGET)/debug/demo' $(ARGS)

# Side by side, in folders of the target that do not lock each other: one alone often has work for one core only. The demonstration
# needs no Kubernetes and no lines in backtraces, which a person at a first build would wait for.
demo-build: wasm-target
	$(call step,build of filters and binaries,CARGO_TERM_PROGRESS_WHEN=never ./wasm-filters/build.sh & \
		CARGO_PROFILE_DEV_DEBUG=0 cargo build -p xds-server --no-default-features -p windrose-tests --bins && wait $$! || { wait; exit 1; })

cluster: ## a cluster by kind with Windrose and a sample in it, up to the first request
	@exec ./kind-cluster/up.sh

# Nothing is built before a cluster answered: the script builds what it needs.
cluster-test: ## our stories on a Kubernetes cluster (WINDROSE_TEST_CLUSTER or KUBECONFIG names it)
	@exec ./kind-cluster/test.sh $(ARGS)

conformance: ## the official Gateway API suite, three runs (WINDROSE_CLUSTER_SUITE names what runs it)
	@exec ./tests/conformance/run.sh $(ARGS)

bench: setup ## the control-plane benchmarks, beside a go-control-plane server where Go is present
	@exec ./tests/bench/run.sh $(ARGS)

bench-cluster: setup ## what a change costs in the cluster of KUBECONFIG in which Windrose is installed
	@exec ./tests/bench/cluster.sh $(ARGS)

clean: ## remove what was built
	@cargo clean

clean-all: clean ## the same, and what was fetched
	@rm -rf .windrose .demo
