#!/usr/bin/env bash
# Builds RocksDB as a static library from the sources that the crate librocksdb-sys vendors, in chunks.
#
#   build/rocksdb.sh dir     prints the folder where the library is, or will be
#   build/rocksdb.sh build   makes it unless it is there
#
# Most of what RocksDB costs to compile is its headers, read again for each of 342 sources: a dozen sources included into
# one file take a third of the time of a dozen files (60 sources of db/: 196 s of CPU against 529; all of them: 8 minutes
# of CPU against about 45). The library lies in
# the cache folder, keyed by all that shapes it: the crate's version, the flags, the compiler. cargo finds
# it by ROCKSDB_LIB_DIR (build/env.sh); without that variable the crate compiles everything itself, three times as long.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/basalt
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src

# As RocksDB's own Makefile builds a release, for the CPU level of .cargo/config.toml. The allocator is jemalloc, which
# the binary links under the names of malloc; malloc_usable_size tells RocksDB what its blocks really occupy.
flags=(-std=c++20 -O2 -fPIC -ffunction-sections -fdata-sections -fno-omit-frame-pointer -march=x86-64-v3 -mpclmul -w
  -include cstdint -DNDEBUG -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION -DLZ4=1 -DZSTD=1 -DROCKSDB_MALLOC_USABLE_SIZE
  -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT
  -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT)
chunk_size=12
# Raise it when what this script makes changes without a flag that does.
recipe=1
# Sources that do not stand being in one file with others: names of their own that others have too, or macros left behind.
alone='^$'

version() { # CRATE -> its version in Cargo.lock
  awk -v name="\"$1\"" '$1 == "name" && $3 == name { getline; gsub(/"/, "", $3); print $3; exit }' Cargo.lock
}
sources() { echo "$registry"/*/"$1-$(version "$1")"; }

key=$({ version librocksdb-sys; ${CXX:-g++} -dumpfullversion -dumpmachine; echo "${flags[*]} $chunk_size $alone $recipe"; } | sha256sum | cut -c 1-16)
dir=$cache/rocksdb/$(version librocksdb-sys)-$key

compile() { # OBJECT SOURCE...: one chunk
  local object=$1; shift
  local chunk=${object%.o}.cc
  printf '#include "%s"\n' "$@" >"$chunk"
  # shellcheck disable=SC2086
  ${CXX:-g++} "${flags[@]}" -I"$rocksdb" -I"$rocksdb/include" -I"$(sources lz4-sys)/liblz4" -I"$(sources lz4-sys)/liblz4/lib" -I"$(sources zstd-sys)/zstd/lib" \
    -c "$chunk" -o "$object"
}

build() {
  [ -f "$dir/librocksdb.a" ] && return
  [ -d "$(sources librocksdb-sys)" ] || cargo fetch --locked
  local crate; crate=$(sources librocksdb-sys); rocksdb=$crate/rocksdb
  mkdir -p "$cache/rocksdb"
  exec 9>"$cache/rocksdb/lock"; flock 9
  [ -f "$dir/librocksdb.a" ] && return
  work=$(mktemp -d "$cache/rocksdb/building.XXXXXX")
  trap 'rm -rf "$work"' EXIT

  # The sources folder by folder, so that what a chunk includes overlaps.
  local -a list chunk=(); local source n=0
  mapfile -t list < <(grep -v '^util/build_version.cc$' "$crate/rocksdb_lib_sources.txt" | sed 's/[[:space:]]//g' | grep .)
  local -a jobs=()
  cut_chunk() { [ ${#chunk[@]} -eq 0 ] && return; jobs+=("$work/$(printf %03d $n).o ${chunk[*]}"); n=$((n + 1)); chunk=(); }
  for source in "${list[@]}"; do
    if [[ $source =~ $alone ]]; then jobs+=("$work/$(printf %03d $n).o $rocksdb/$source"); n=$((n + 1)); continue; fi
    chunk+=("$rocksdb/$source")
    [ ${#chunk[@]} -lt "$chunk_size" ] || cut_chunk
  done
  cut_chunk
  jobs+=("$work/$(printf %03d $n).o $crate/build_version.cc")

  echo "basalt: compiling RocksDB: ${#list[@]} sources in ${#jobs[@]} chunks, once, into $dir" >&2
  local started=$SECONDS
  export -f compile sources version; export registry rocksdb CXX=${CXX:-g++}
  export flags_text="${flags[*]}"
  printf '%s\n' "${jobs[@]}" | xargs -P "${CARGO_BUILD_JOBS:-$(nproc)}" -I{} bash -euc \
    'IFS=" " read -ra flags <<<"$flags_text"; set -- {}; compile "$@"' || { echo "basalt: RocksDB did not compile" >&2; exit 1; }
  ar crs "$work/librocksdb.a" "$work"/*.o
  mkdir -p "$dir"
  mv "$work/librocksdb.a" "$dir/librocksdb.a"
  echo "basalt: RocksDB compiled in $((SECONDS - started)) s" >&2
}

case "${1:-build}" in
  dir) echo "$dir" ;;
  build) build ;;
  *) echo "usage: build/rocksdb.sh dir|build" >&2; exit 2 ;;
esac
