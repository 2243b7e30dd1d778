# The two commands: `make up` starts Basalt, `make test` runs every test. Both install what they need by apt.
SHELL := /bin/bash
CARGO := . build/env.sh && cargo

.PHONY: up build test lint audit bench-oltp bench-olap bare need-build need-test need-bench rocksdb

up: build
	. build/env.sh && "$$CARGO_TARGET_DIR/release/basalt" up $(ARGS)

# What does not need RocksDB compiles beside it.
build: need-build
	@build/rocksdb.sh build & first=$$!; $(CARGO) build --release --locked -p basalt-sql -p early --lib && wait $$first
	$(CARGO) build --release --locked -p basalt
	@. build/env.sh && mkdir -p target/release && ln -sf "$$CARGO_TARGET_DIR/release/basalt" target/release/basalt

test: need-test build
	$(CARGO) build --release --workspace --locked --bins --lib --tests
	$(CARGO) test --release --workspace --locked

lint: need-build rocksdb
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings

# Advisories and licenses of what is linked in. Not part of CI: cargo-deny takes minutes to compile and asks the network.
audit:
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --all-features check

# This build and MariaDB in turn: bench/README.md. ARGS go to bench/oltp.py and bench/olap.py.
bench-oltp: need-bench build
	bench/run.sh oltp $(ARGS)

bench-olap: need-bench build
	bench/run.sh olap $(ARGS)

# The two commands on a Debian that has nothing, without this machine's compiled code; prints how long each step took.
bare:
	@build/need.sh bare
	build/bare.sh

rocksdb:
	@build/rocksdb.sh build

need-build:
	@build/need.sh build

need-bench:
	@build/need.sh bench

need-test:
	@build/need.sh test
