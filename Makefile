# The two commands: `make up` starts Basalt, `make test` runs every test. Both install what they need by apt.
#
# Compiled code lies outside the clone, so that a fresh clone does not compile RocksDB and DataFusion again.
# Tests and binary share one profile (release) and one feature set.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/basalt
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := /usr/lib/ccache:$(PATH)
BIN := $(CARGO_TARGET_DIR)/release/basalt

.PHONY: up build test lint need-build need-test

up: build
	$(BIN) up $(ARGS)

build: need-build
	cargo build --release --workspace --locked
	@mkdir -p target/release && ln -sf $(BIN) target/release/basalt

test: need-test
	cargo build --release --workspace --locked --bins --lib --tests
	@mkdir -p target/release && ln -sf $(BIN) target/release/basalt
	cargo test --release --workspace --locked

lint:
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets --locked -- -D warnings

need-build:
	@scripts/need.sh build

need-test:
	@scripts/need.sh test
