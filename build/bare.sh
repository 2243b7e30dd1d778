#!/usr/bin/env bash
# README's two commands on a bare machine: debootstrap's minimal Debian 12 in a folder, with this machine's Rust mounted
# in and none of its compiled code, and a fresh clone. Prints the minutes of each step; ends with the first that fails.
#
#   build/bare.sh [--keep] [--up-only]      as root; BARE_DIR (a folder under $TMPDIR) holds it, some 6 GB
#
# --keep leaves the folder for a look; --up-only skips `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."
keep=0 up_only=0
for flag in "$@"; do
  case $flag in --keep) keep=1 ;; --up-only) up_only=1 ;; *) echo "usage: build/bare.sh [--keep] [--up-only]" >&2; exit 2 ;; esac
done
[ "$(id -u)" = 0 ] || { echo "basalt: bare.sh makes a root of its own and needs to be root" >&2; exit 1; }
rust_home=$(rustc --print sysroot)
cargo_bin=$(dirname "$(command -v cargo)")
dir=${BARE_DIR:-$(mktemp -d "${TMPDIR:-/tmp}/basalt-bare.XXXXXX")}
root=$dir/root
report=()

step() { # NAME COMMAND...
  local name=$1 began=$SECONDS; shift
  echo "basalt: bare: $name" >&2
  "$@" || { echo "basalt: bare: $name failed after $((SECONDS - began)) s" >&2; exit 1; }
  report+=("$(printf '%-42s %5d s  %5.1f min' "$name" $((SECONDS - began)) "$(awk "BEGIN { print ($SECONDS - $began) / 60 }")")")
}
# What a failed test left running keeps the mounts busy.
end_processes() {
  local process
  for process in /proc/[0-9]*; do
    if [ "$(readlink "$process/root" 2>/dev/null)" = "$root" ]; then kill -KILL "${process#/proc/}" 2>/dev/null || true; fi
  done
}
unmount() { for at in proc dev/shm dev/pts dev opt/rust; do mountpoint -q "$root/$at" && umount "$root/$at"; done; return 0; }
finish() { end_processes; unmount; [ "$keep" = 1 ] && echo "basalt: bare: kept $dir" >&2 || rm -rf --one-file-system "$dir"; }
trap finish EXIT

inside() { # COMMAND...: in the bare root, with nothing of this machine's environment
  chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/opt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin CARGO_HOME=/root/.cargo \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} bash -euc "$*"
}
make_root() {
  mkdir -p "$root"
  local mirror; mirror=$(apt-get indextargets --format '$(SUITE) $(SITE)' 'Created-By: Packages' | awk '/^(bookworm|oldstable|stable) / { print $2; exit }')
  debootstrap --variant=minbase --include=ca-certificates,git,make bookworm "$root" ${mirror:+"$mirror"} >"$dir/debootstrap.log" 2>&1 || { tail -n 20 "$dir/debootstrap.log" >&2; return 1; }
  # Where packages come from is this machine's business, not what is tested.
  cp -a /etc/apt/sources.list* /etc/apt/apt.conf.d /etc/apt/keyrings /etc/apt/trusted.gpg.d "$root/etc/apt/" 2>/dev/null || true
  cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
  mkdir -p "$root/usr/local/share/ca-certificates" "$root/etc/ssl"
  cp -aL /etc/ssl/certs "$root/etc/ssl/" 2>/dev/null || true
  mkdir -p "$root/opt/rust" "$root/root/.cargo"
  local home=${CARGO_HOME:-$HOME/.cargo} file
  for file in config.toml config; do [ -f "$home/$file" ] && cp "$home/$file" "$root/root/.cargo/"; done
  mount --bind "$rust_home" "$root/opt/rust"; mount -o remount,ro,bind "$root/opt/rust"
  mount -t proc proc "$root/proc"; mount --bind /dev "$root/dev"
  mount --bind /dev/pts "$root/dev/pts"; mount -t tmpfs tmpfs "$root/dev/shm"
  [ -x "$root/opt/rust/bin/cargo" ] || { echo "basalt: bare: no cargo in $rust_home ($cargo_bin)" >&2; return 1; }
}
clone() { git clone -q . "$root/root/basalt" && git -C "$root/root/basalt" log -1 --format='basalt: bare: %h %s' >&2; }
up() { # `make up` until a query is answered, then Ctrl-C
  inside "cd /root/basalt && exec make up" >"$dir/up.log" 2>&1 &
  local pid=$! answered=0
  while kill -0 "$pid" 2>/dev/null; do
    if inside 'exec 3<>/dev/tcp/127.0.0.1/4000 && head -c 1 <&3 | grep -q .' 2>/dev/null; then answered=1; break; fi
    sleep 2
  done
  if [ "$answered" = 0 ]; then tail -n 60 "$dir/up.log" >&2; return 1; fi
  tail -n 20 "$dir/up.log" >&2
  local server
  for server in $(pgrep -x basalt); do [ "$(readlink "/proc/$server/root")" = "$root" ] && kill -INT "$server"; done
  wait "$pid" || true
}

step "debootstrap, mounts" make_root
step "a fresh clone" clone
step "make up, to a server that answers" up
[ "$up_only" = 1 ] || step "make test" inside "cd /root/basalt && make test"
echo "basalt: bare: passed on $(nproc) cores"
printf '  %s\n' "${report[@]}"
