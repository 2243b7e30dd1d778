# Where compiled code lies, for cargo: source it (`. build/env.sh`) before calling cargo by hand, as the Makefile does.
# Compiled code lies outside the clone, so that a fresh clone does not compile RocksDB and DataFusion again; tests and
# binary share one profile (release) and one feature set (build/workspace-hack).
basalt_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/basalt/target}
ROCKSDB_LIB_DIR=$("$basalt_root/build/rocksdb.sh" dir) || { echo "basalt: run 'make need-build' first" >&2; return 1; }
export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1
