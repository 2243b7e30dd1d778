#!/usr/bin/env python3
"""Updates 1,000 rows 1,000 times each, and shows how a scan and the disk recover as old versions are collected.

    garbage.py --server 127.0.0.1:4000 --status 127.0.0.1:10080 [--rows 1000] [--updates 1000] [--seconds 120]

Start the server with a short life for old versions, so that it can be waited for:

    printf '[gc]\\nlife_time = "10s"\\n' > gc.toml; basalt up --config gc.toml

`passed` is how long ago the safe point passed the last update; `data` is what the regions take, without the raft log. Needs the `mysql` client and `basalt` in PATH or --basalt.
"""
import argparse, json, subprocess, sys, time

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--server", default="127.0.0.1:4000")
    ap.add_argument("--status", default="127.0.0.1:10080")
    ap.add_argument("--basalt", default="basalt")
    ap.add_argument("--rows", type=int, default=1000)
    ap.add_argument("--updates", type=int, default=1000)
    ap.add_argument("--seconds", type=int, default=120)
    args = ap.parse_args()
    host, port = args.server.split(":")

    def sql(text):
        out = subprocess.run(["mysql", "-h", host, "-P", port, "-uroot", "-N"], input=text, capture_output=True, text=True)
        if out.returncode:
            sys.exit(out.stderr.strip())
        return out.stdout

    def ctl(verb):
        out = subprocess.run([args.basalt, "ctl", verb, "--json", "--status", args.status], capture_output=True, text=True)
        if out.returncode:
            sys.exit(out.stderr.strip())
        return json.loads(out.stdout)

    def scan_ms():
        times = []
        for _ in range(5):
            began = time.monotonic()
            sql("select count(*), sum(v), sum(length(w)) from garbage.t where v >= 0")
            times.append((time.monotonic() - began) * 1000)
        return sorted(times)[2]

    def disk_mib():
        return sum(region["size_bytes"] for region in ctl("regions")) / (1 << 20)

    def show(what, passed):
        gc = ctl("gc")[0]
        held = gc["held_by"] or "-"
        print(f"{what:<16} {passed:>9} {scan_ms():>9.1f} {disk_mib():>10.1f}  {held}", flush=True)

    sql("drop database if exists garbage; create database garbage; create table garbage.t (id int primary key, v int, w varchar(300))")
    rows = ",".join(f"({n}, 0, repeat('x', 200))" for n in range(args.rows))
    sql(f"insert into garbage.t values {rows}")
    print(f"{'':<16} {'passed s':>9} {'scan ms':>9} {'data MiB':>10}  held by")
    show("written once", "-")
    began = time.monotonic()
    sql("update garbage.t set v = v + 1, w = repeat(char(97 + v % 26), 200);\n" * args.updates)
    done_ms = time.time() * 1000
    print(f"{args.rows * args.updates:,} updates in {time.monotonic() - began:.1f} s")
    until, passed_at = time.monotonic() + args.seconds, None
    while time.monotonic() < until:
        if passed_at is None and ctl("gc")[0]["collected_to_unix_ms"] > done_ms:
            passed_at = time.monotonic()
        show(f"after {time.time() - done_ms / 1000:.0f} s", "-" if passed_at is None else f"{time.monotonic() - passed_at:.0f}")
        time.sleep(5)

if __name__ == "__main__":
    main()
