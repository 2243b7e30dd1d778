#!/usr/bin/env bash
# Installs by apt what a verb of the Makefile needs and the machine lacks; says what and why; does nothing when all is there.
#   build/need.sh build|test|bench|bare
# A probe asks for what the consumer will load, not for a name that looks like it.
set -euo pipefail

declare -a packages=()
want() { # PACKAGE WHY PROBE...: adds the package when the probe fails
  local package=$1 why=$2; shift 2
  "$@" >/dev/null 2>&1 && return
  packages+=("$package")
  echo "basalt: need $package: $why"
}

# The search of the crate clang-sys, which bindgen loads libclang by: LIBCLANG_PATH alone if set, else llvm-config's
# folders, the loader's, and the usual ones. libclang-cpp is another library that only looks like it.
has_libclang() {
  local prefix file; local -a folders=()
  if [ -n "${LIBCLANG_PATH:-}" ]; then
    [ -f "$LIBCLANG_PATH" ] && return
    folders=("$LIBCLANG_PATH")
  else
    prefix=$(llvm-config --prefix 2>/dev/null) && folders+=("$prefix/bin" "$prefix/lib" "$prefix/lib64")
    IFS=: read -ra more <<<"${LD_LIBRARY_PATH:-}:${LIBRARY_PATH:-}"
    folders+=("${more[@]}" /usr/local/llvm*/lib* /usr/local/lib*/*/* /usr/local/lib*/* /usr/local/lib* /usr/lib*/*/* /usr/lib*/* /usr/lib*)
  fi
  for prefix in "${folders[@]}"; do
    [ -n "$prefix" ] || continue
    for file in "$prefix"/libclang.so "$prefix"/libclang-*.so "$prefix"/libclang.so.* "$prefix"/libclang-*.so.*; do
      case $file in *-cpp.*) continue ;; esac
      [ -e "$file" ] && return
    done
  done
  return 1
}
# libclang brings no headers of its own (stddef.h, stdint.h): they lie beside it, or clang knows where.
has_clang_headers() {
  command -v clang >/dev/null && return
  ls /usr/lib/llvm*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h /usr/lib64/clang/*/include/stddef.h 2>/dev/null | grep -q .
}
can_bind() { has_libclang && has_clang_headers; }
can_compile() { # a compiler without its standard library's headers is none
  printf '#include <string>\n#include <cstdint>\nint main() { return std::string().size(); }\n' | "${CXX:-g++}" -std=c++20 -x c++ -fsyntax-only -
}

case "${1:-build}" in
  build | test | bench)
    if ! command -v cargo >/dev/null; then
      echo "basalt: Rust is missing. Install it with rustup (1.95 or later), then run this again." >&2
      exit 1
    fi
    want g++ "compiles RocksDB" can_compile
    want make "runs the build, and jemalloc's" command -v make
    want libclang-dev "generates the bindings of RocksDB" can_bind
    ;;
  bare)
    want debootstrap "makes a bare Debian in a folder" command -v debootstrap
    ;;
  *) echo "usage: build/need.sh build|test|bench|bare" >&2; exit 2 ;;
esac
if [ "${1:-build}" = test ] || [ "${1:-build}" = bench ]; then
  want mariadb-client "the mysql client and mariadb-dump, used by the tests" command -v mariadb-dump
  want sysbench "the load generator, used by the tests" command -v sysbench
  want mariadb-server "answers what the generator asks, and is measured in turn" command -v mariadbd
fi
if [ "${1:-build}" = bench ]; then
  want galera-4 "its cluster" test -e /usr/lib/galera/libgalera_smm.so
  want rsync "copies Galera's first state" command -v rsync
  want iproute2 "ss, which tells whose CPU is counted" command -v ss
  want python3-venv "runs the yardsticks" python3 -c 'import ensurepip'
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
