#!/usr/bin/env bash
# Measures this build against MariaDB, in turn, on loopback:   bench/run.sh oltp|olap [arguments of oltp.py or olap.py]
# Starts both servers and stops them at the end; a MariaDB that answers on port 3406 already is used and left alone.
# Data lie under ${PEERS_DIR:-/tmp/peers}; Basalt's are removed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
. build/env.sh
what=${1:?oltp or olap}; shift
basalt=${BASALT_BIN:-$CARGO_TARGET_DIR/release/basalt}
port=${BENCH_PORT:-4400}
export PEERS_DIR=${PEERS_DIR:-${TMPDIR:-/tmp}/peers}
[ -x "$basalt" ] || { echo "bench: $basalt is missing: make build" >&2; exit 1; }

mkdir -p "$PEERS_DIR"
data=$(mktemp -d "$PEERS_DIR/basalt-XXXXXX")
pid= started=
finish() {
  [ -z "$pid" ] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; } || true
  [ -z "$started" ] || "$here/peers.sh" stop mariadb || true
  rm -rf "$data"
}
trap finish EXIT
if ! mariadb --no-defaults -h127.0.0.1 -P3406 -uroot -e 'select 1' >/dev/null 2>&1; then
  started=1
  "$here/peers.sh" start mariadb >/dev/null
fi
"$basalt" up --data "$data/data" --listen "127.0.0.1:$port" --status "127.0.0.1:$((port + 1))" --log warn >"$data/said" 2>"$data/log" &
pid=$!
for _ in $(seq 300); do
  grep -q '^ready:' "$data/said" && break
  kill -0 "$pid" 2>/dev/null || { cat "$data/log" >&2; exit 1; }
  sleep 0.1
done
servers=(--server "basalt=127.0.0.1:$port" --server mariadb=127.0.0.1:3406)
case $what in
  oltp)
    for p in "$port" 3406; do mariadb --no-defaults -h127.0.0.1 -P"$p" -uroot -e 'create database if not exists sbtest'; done
    "$here/oltp.py" "${servers[@]}" --prepare "$@" ;;
  olap)
    venv=${BENCH_VENV:-$HOME/.cache/basalt/bench-venv}
    if [ ! -x "$venv/bin/tpchgen-cli" ]; then
      python3 -m venv "$venv"
      "$venv/bin/pip" install --quiet pymysql duckdb 'tpchgen-cli>=4'
    fi
    PATH="$venv/bin:$PATH" "$venv/bin/python3" "$here/olap.py" "${servers[@]}" --load --load-with insert "$@" ;;
  *) sed -n '2,3p' "$0" >&2; exit 2 ;;
esac
