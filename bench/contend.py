#!/usr/bin/env python3
"""Clients that want the same rows: rates, p99 and errors, server beside server.

    contend.py --server ours=127.0.0.1:4000 --server mysql=127.0.0.1:3499 [--mode hot,queue] [--threads 1,8,64]

| mode     | a transaction                                                            |
|----------|--------------------------------------------------------------------------|
| hot      | UPDATE of one row, autocommit                                            |
| hot_txn  | the same between BEGIN and COMMIT                                        |
| ordered  | UPDATE of two rows in one order                                          |
| opposite | UPDATE of the two rows in either order: deadlocks (1213) are tried again |
| queue    | the first job that nobody has (SKIP LOCKED), noted as done and deleted   |

Any error but 1213 ends a run and is printed. `hot` counts: n must be what the clients were told. Needs `sysbench`.
"""
import argparse, os, re, subprocess, sys

MODES = ["hot", "hot_txn", "ordered", "opposite", "queue"]
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "contend.lua")


def sysbench(server, mode, threads, seconds, verb, jobs):
    host, port = server.split(":")
    return subprocess.run(
        ["sysbench", SCRIPT, f"--mysql-host={host}", f"--mysql-port={port}", "--mysql-user=root", "--mysql-db=contend",
         f"--mode={mode}", f"--threads={threads}", f"--time={seconds}", "--events=0", "--percentile=99", "--rand-type=uniform",
         "--db-ps-mode=disable", f"--jobs={jobs}", verb], capture_output=True, text=True)


def sql(server, statement):
    host, port = server.split(":")
    out = subprocess.run(["mysql", "-h", host, "-P", port, "-uroot", "-N", "-e", statement], capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"{server}: {out.stderr.strip()}")
    return out.stdout.strip()


def run(server, mode, threads, seconds, jobs):
    prepared = sysbench(server, mode, 1, 0, "prepare", jobs)
    if prepared.returncode:
        return {"error": prepared.stdout.strip()[-200:]}
    out = sysbench(server, mode, threads, seconds, "run", jobs)
    figure = lambda pattern: float((re.search(pattern, out.stdout) or [0, "nan"])[1])
    told = {"rate": figure(r"transactions:\s+\d+\s+\(([\d.]+) per sec"), "count": figure(r"transactions:\s+(\d+)"),
            "p99": figure(r"99th percentile:\s+([\d.]+)"), "again": figure(r"ignored errors:\s+(\d+)")}
    fatal = re.search(r"FATAL: (.*)", out.stdout + out.stderr)
    if fatal:
        told["error"] = fatal.group(1)
    if mode.startswith("hot") and not fatal:
        n = int(sql(server, "SELECT n FROM contend.hot WHERE id = 1"))
        if not told["count"] <= n <= told["count"] + threads:
            told["error"] = f"n is {n} after {told['count']:.0f} updates"
    if mode == "queue" and not fatal:
        left, done = map(int, sql(server, "SELECT (SELECT COUNT(*) FROM contend.jobs), (SELECT COUNT(*) FROM contend.done)").split())
        if left + done != jobs:
            told["error"] = f"{left} jobs left and {done} done of {jobs}"
    return told


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--server", action="append", required=True, metavar="NAME=HOST:PORT")
    ap.add_argument("--mode", default=",".join(MODES))
    ap.add_argument("--threads", default="1,8,64")
    ap.add_argument("--seconds", type=int, default=5)
    ap.add_argument("--jobs", type=int, default=100000)
    args = ap.parse_args()
    servers = [spec.split("=", 1) for spec in args.server]
    for name, server in servers:
        sql(server, "CREATE DATABASE IF NOT EXISTS contend")
    print(f"{'mode':<10}{'threads':>8}  {'server':<10}{'tx/s':>10}{'p99 ms':>10}{'1213':>8}  error")
    for mode in args.mode.split(","):
        for threads in map(int, args.threads.split(",")):
            for name, server in servers:
                told = run(server, mode, threads, args.seconds, args.jobs)
                if "rate" in told:
                    print(f"{mode:<10}{threads:>8}  {name:<10}{told['rate']:>10.1f}{told['p99']:>10.1f}{told['again']:>8.0f}  {told.get('error', '')}", flush=True)
                else:
                    print(f"{mode:<10}{threads:>8}  {name:<10}  {told['error']}", flush=True)


if __name__ == "__main__":
    main()
