# The two commands: `make up` starts Basalt, `make test` runs every test. Both install what they need by apt.
SHELL := /bin/bash
CARGO := . build/env.sh && cargo

.PHONY: up build test lint bare need-build need-test rocksdb

up: build
	. build/env.sh && "$$CARGO_TARGET_DIR/release/basalt" up $(ARGS)

# What does not need RocksDB compiles beside it.
build: need-build
	@build/rocksdb.sh build & first=$$!; $(CARGO) build --release --locked -p basalt-sql --lib && wait $$first
	$(CARGO) build --release --locked -p basalt
	@. build/env.sh && mkdir -p target/release && ln -sf "$$CARGO_TARGET_DIR/release/basalt" target/release/basalt

test: need-test build
	$(CARGO) build --release --workspace --locked --bins --lib --tests
	$(CARGO) test --release --workspace --locked

lint: need-build rocksdb
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings

# The two commands on a Debian that has nothing, without this machine's compiled code; prints how long each step took.
bare:
	@build/need.sh bare
	build/bare.sh

rocksdb:
	@build/rocksdb.sh build

need-build:
	@build/need.sh build

need-test:
	@build/need.sh test
