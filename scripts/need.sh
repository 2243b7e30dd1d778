#!/usr/bin/env bash
# Installs by apt what a verb of the Makefile needs and the machine lacks; says what and why; does nothing when all is there.
#   scripts/need.sh build|test
set -euo pipefail

declare -a packages=()
want() { # PACKAGE WHY PROBE...: adds the package when the probe fails
  local package=$1 why=$2; shift 2
  "$@" >/dev/null 2>&1 && return
  packages+=("$package")
  echo "basalt: need $package: $why"
}
has_libclang() { ls /usr/lib/llvm*/lib/libclang*.so* /usr/lib/*/libclang*.so* 2>/dev/null | grep -q .; }

if ! command -v cargo >/dev/null; then
  echo "basalt: Rust is missing. Install it with rustup (1.95 or later), then run this again." >&2
  exit 1
fi
want g++ "compiles RocksDB" command -v g++
want make "runs the build" command -v make
want libclang-dev "generates the bindings of RocksDB" has_libclang
want ccache "keeps compiled RocksDB over changes of the build" command -v ccache
if [ "${1:-build}" = test ]; then
  want mariadb-client "the mysql client and mariadb-dump, used by the tests" command -v mariadb-dump
  want sysbench "the load generator, used by the tests" command -v sysbench
fi
[ ${#packages[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "basalt: not root and no sudo: install by hand: apt-get install ${packages[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
command -v apt-get >/dev/null || { echo "basalt: no apt-get here: install by hand: ${packages[*]}" >&2; exit 1; }
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}"
