#!/usr/bin/env python3
"""sysbench beside schema changes: what the changes cost, and whether a client sees them.

    beside.py --server ours=127.0.0.1:4000 [--seconds 300] [--threads 16] [--alone 60]

oltp_read_write on eight tables, first alone, then while one schema change after another runs: ADD and DROP INDEX on each of
the eight in turn, TRUNCATE of a ninth, RENAME of a tenth. Any error that a client sees ends its sysbench and is printed, and
so does a schema change that fails. Prints both rates, their ratio, how many changes of each sort ran and how long they took.
Needs `sysbench` and `mariadb-client`.
"""
import argparse, re, statistics, subprocess, sys, time

DB, TABLES = "beside", 8


def sysbench(server, verb, threads, seconds, table_size):
    host, port = server.split(":")
    return ["sysbench", "oltp_read_write", f"--mysql-host={host}", f"--mysql-port={port}", "--mysql-user=root", f"--mysql-db={DB}",
            f"--tables={TABLES}", f"--table-size={table_size}", f"--threads={threads}", f"--time={seconds}", "--events=0",
            "--rand-type=uniform", "--mysql-ignore-errors=1213", "--report-interval=10", verb]


def sql(server, statements, database=DB):
    host, port = server.split(":")
    return subprocess.run(["mariadb", "--no-defaults", "-h", host, "-P", port, "-uroot", "-N", "-e", statements] + ([database] if database else []),
                          capture_output=True, text=True)


def expect(done, what):
    if done.returncode:
        sys.exit(f"{what}: {(done.stdout + done.stderr).strip()[-400:]}")
    return done.stdout


def changes():
    """(sort, statement), without end."""
    at = 0
    while True:
        table, column = f"sbtest{at % TABLES + 1}", ["c", "pad"][at // TABLES % 2]
        yield "add index", f"ALTER TABLE {table} ADD INDEX beside ({column})"
        yield "truncate", "TRUNCATE TABLE ninth"
        yield "drop index", f"ALTER TABLE {table} DROP INDEX beside"
        yield "rename", ["RENAME TABLE tenth TO tenth_too", "RENAME TABLE tenth_too TO tenth"][at % 2]
        at += 1


def figures(text):
    rate = re.search(r"transactions:\s+\d+\s+\(([\d.]+) per sec", text)
    p95 = re.search(r"95th percentile:\s+([\d.]+)", text)
    fatal = re.findall(r"FATAL: .*|.*error.*\d{4}.*", text)
    return float(rate[1]) if rate else 0.0, float(p95[1]) if p95 else 0.0, fatal


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--server", required=True, metavar="NAME=HOST:PORT")
    ap.add_argument("--seconds", type=int, default=300)
    ap.add_argument("--alone", type=int, default=60)
    ap.add_argument("--threads", type=int, default=16)
    ap.add_argument("--table-size", type=int, default=20000)
    args = ap.parse_args()
    name, server = args.server.split("=", 1)
    expect(sql(server, f"DROP DATABASE IF EXISTS {DB}; CREATE DATABASE {DB}", None), "database")
    run = lambda verb, seconds: sysbench(server, verb, args.threads, seconds, args.table_size)
    expect(subprocess.run(run("prepare", 0), capture_output=True, text=True), "prepare")
    expect(sql(server, "CREATE TABLE ninth (id INT PRIMARY KEY, v INT); CREATE TABLE tenth LIKE ninth; INSERT INTO ninth VALUES (1, 1); INSERT INTO tenth VALUES (1, 1)"), "tables")

    alone = subprocess.run(run("run", args.alone), capture_output=True, text=True)
    alone_rate, alone_p95, errors = figures(alone.stdout + alone.stderr)
    print(f"{name}: alone {alone_rate:.0f} tx/s, p95 {alone_p95:.1f} ms {'; '.join(errors)}", flush=True)

    beside = subprocess.Popen(run("run", args.seconds), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    times, failed, end = {}, [], time.monotonic() + args.seconds
    for sort, statement in changes():
        if time.monotonic() > end - 2 or beside.poll() is not None:
            break
        began = time.monotonic()
        done = sql(server, statement)
        times.setdefault(sort, []).append(time.monotonic() - began)
        if done.returncode:
            failed.append(f"{statement}: {done.stderr.strip()}")
        if sort == "truncate":
            expect(sql(server, "INSERT INTO ninth VALUES (1, 1)"), "the ninth table")
    text = beside.communicate()[0]
    rate, p95, errors = figures(text)
    print(f"{name}: beside schema changes {rate:.0f} tx/s, p95 {p95:.1f} ms, {rate / alone_rate:.2f} of alone")
    for sort, took in times.items():
        print(f"  {sort:<12}{len(took):>5} times, median {statistics.median(took):.2f} s, longest {max(took):.2f} s")
    for line in errors + failed:
        print(f"  error: {line}")
    # Whatever stood in the way, rows and indexes must tell the same.
    for table in range(1, TABLES + 1):
        for index in expect(sql(server, f"SELECT DISTINCT index_name FROM information_schema.statistics WHERE table_schema = '{DB}' AND table_name = 'sbtest{table}'"), "indexes").split():
            count = expect(sql(server, f"SELECT COUNT(*) FROM sbtest{table} FORCE INDEX ({'`' + index + '`'})"), "count").strip()
            rows = expect(sql(server, f"SELECT COUNT(*) FROM sbtest{table} FORCE INDEX (PRIMARY)"), "count").strip()
            if count != rows:
                print(f"  error: sbtest{table}.{index} has {count} entries, the table {rows} rows")
                failed.append(index)
    sys.exit(1 if errors or failed else 0)


if __name__ == "__main__":
    main()
