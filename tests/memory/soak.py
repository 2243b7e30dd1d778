#!/usr/bin/env python3
"""Statements that want more memory than there is, each with eight clients beside it that must notice nothing.

    tests/memory/soak.py                      the whole: about half an hour, needs the release binary
    tests/memory/soak.py --scale 0.01         small
    tests/memory/soak.py --only join40,sort   some
    tests/memory/soak.py --data FOLDER        where the server keeps its data; tens of gigabytes at full size

The clients beside are sysbench's oltp_read_write where it is installed, eight threads and 50 transactions a second; else
eight of our own. Prints a table: statement, answer or error, peak of the server's resident memory, seconds, transactions,
slowest and errors of the clients beside it. Ends with 1 when the server died or a client beside it saw an error.
"""
import argparse
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pymysql

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLIENTS = 8
ROWS_BESIDE = 1000


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """One `basalt up` in a folder of its own."""

    def __init__(self, binary, limit, data=None):
        self.folder = tempfile.mkdtemp(prefix="basalt-soak-", dir=data)
        self.port, status = free_port(), free_port()
        config = os.path.join(self.folder, "basalt.toml")
        with open(config, "w") as f:
            f.write(f'memory_limit = "{limit}"\n')
        command = [binary, "up", "--config", config, "--data", os.path.join(self.folder, "data")]
        command += ["--listen", f"127.0.0.1:{self.port}", "--status", f"127.0.0.1:{status}"]
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        for _ in range(300):
            try:
                self.connect().close()
                return
            except pymysql.Error:
                time.sleep(0.1)
        raise SystemExit("the server did not start: " + os.path.join(self.folder, "log"))

    def connect(self, **more):
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", database="test", autocommit=True, max_allowed_packet=1 << 30, **more
        )

    def resident_mib(self):
        try:
            with open(f"/proc/{self.process.pid}/statm") as f:
                return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
        except OSError:
            return 0

    def stop(self):
        alive = self.process.poll() is None
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        return alive


class Beside:
    """Eight clients that read and change single rows, and note every error."""

    def __init__(self, server):
        self.server, self.stop, self.errors, self.done = server, threading.Event(), [], 0
        self.peak = 0
        self.slowest = 0.0
        self.threads = [threading.Thread(target=self.work, args=(n,)) for n in range(CLIENTS)]
        self.threads.append(threading.Thread(target=self.watch))
        for thread in self.threads:
            thread.start()

    def work(self, number):
        chance = random.Random(number)
        try:
            connection = self.server.connect(read_timeout=120)
            cursor = connection.cursor()
            while not self.stop.is_set():
                row = chance.randrange(ROWS_BESIDE)
                began = time.time()
                if chance.random() < 0.8:
                    cursor.execute(f"SELECT v FROM beside WHERE id = {row}")
                    assert len(cursor.fetchall()) == 1
                else:
                    cursor.execute(f"UPDATE beside SET v = v + 1 WHERE id = {row}")
                self.slowest = max(self.slowest, time.time() - began)
                self.done += 1
                time.sleep(0.002)
            connection.close()
        except Exception as error:  # whatever it is, it is counted
            self.errors.append(repr(error)[:200])

    def watch(self):
        while not self.stop.is_set():
            self.peak = max(self.peak, self.server.resident_mib())
            time.sleep(0.02)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        errors = f"{len(self.errors)} errors" + (f" ({self.errors[0]})" if self.errors else "")
        return f"{self.done:,} statements, slowest {self.slowest:.2f} s, {errors}"


class Sysbench:
    """Eight sysbench threads; two of them that want the same row are no error (1205, 1213, 9007), all else is."""

    RATE = 50

    def __init__(self, server):
        self.server, self.stop, self.peak, self.errors = server, threading.Event(), 0, []
        flags = ["--time=0", "--events=0", f"--rate={self.RATE}", "--report-interval=1", "--percentile=100"]
        self.process = subprocess.Popen(
            sysbench(server) + flags + ["--mysql-ignore-errors=1205,1213,9007", "run"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()

    watch = Beside.watch

    def end(self):
        died = self.process.poll() is not None
        self.process.terminate()
        out = self.process.communicate()[0]
        self.stop.set()
        self.watcher.join()
        lines = re.findall(r"tps: ([0-9.]+) .*lat \(ms,100%\): ([0-9.]+) err/s: ([0-9.]+)", out)
        done, slowest = sum(float(line[0]) for line in lines), max([float(line[1]) for line in lines], default=0) / 1000
        self.errors = re.findall(r"FATAL.*|Lost connection.*", out)
        if died and not self.errors:
            self.errors = [out[-200:]]
        errors = f"{len(self.errors)} errors" + (f" ({self.errors[0][:150]})" if self.errors else "")
        return f"{done:,.0f} transactions, slowest {slowest:.2f} s, {errors}"


def sysbench(server):
    command = ["sysbench", "oltp_read_write", "--mysql-host=127.0.0.1", f"--mysql-port={server.port}", "--mysql-user=root"]
    return command + ["--mysql-db=test", "--tables=1", "--table-size=10000", f"--threads={CLIENTS}"]


def load(server, rows):
    """A table of numbers, doubled until it is large enough."""
    cursor = server.connect().cursor()
    cursor.execute("CREATE TABLE beside (id INT PRIMARY KEY, v INT NOT NULL)")
    cursor.execute("INSERT INTO beside VALUES " + ",".join(f"({i},0)" for i in range(ROWS_BESIDE)))
    cursor.execute("CREATE TABLE j (id INT PRIMARY KEY, a INT, b INT, s VARCHAR(40))")
    cursor.execute("INSERT INTO j VALUES " + ",".join(f"({i},{i},{i % 7},'row {i}')" for i in range(10)))
    cursor.execute("CREATE TABLE thousand (id INT PRIMARY KEY)")
    cursor.execute("INSERT INTO thousand VALUES " + ",".join(f"({i})" for i in range(1000)))
    cursor.execute("CREATE TABLE big (id INT PRIMARY KEY, k INT NOT NULL)")
    at = 0
    while at < rows:
        upto = min(at + 20_000, rows)
        cursor.execute("INSERT INTO big VALUES " + ",".join(f"({i},{i * 7919 % 1_000_003})" for i in range(at, upto)))
        at = upto
    cursor.execute("CREATE TABLE sink (id INT PRIMARY KEY, v VARCHAR(20))")


def numbers(wanted):
    """FROM and WHERE that give `wanted` rows with a number n."""
    parts = ["thousand a", "thousand b", "thousand c"]
    n = "a.id + 1000 * b.id + 1000000 * c.id"
    return f"(SELECT {n} AS n FROM {', '.join(parts)} WHERE c.id < {max(1, wanted // 1_000_000)}" + (
        f" AND b.id < {max(1, wanted // 1000)}" if wanted < 1_000_000 else ""
    ) + ") numbers"


def joined(count, condition):
    return "SELECT COUNT(*) FROM " + ", ".join(f"j t{i}" for i in range(count)) + condition


def one(sql):
    def run(server):
        cursor = server.connect(read_timeout=900).cursor()
        cursor.execute(sql)
        rows = cursor.fetchall()
        return f"{len(rows)} rows" if len(rows) != 1 else str(rows[0][0])[:40]

    return run


def steps(*statements):
    def run(server):
        cursor = server.connect(read_timeout=900).cursor()
        rows = ()
        for statement in statements:
            cursor.execute(statement)
            rows = cursor.fetchall()
        return str(rows[0][0])[:40] if rows else "OK"

    return run


def transaction(rows):
    def run(server):
        connection = server.connect(read_timeout=900)
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        for at in range(0, rows, 20_000):
            values = ",".join(f"({i},'value of {i}')" for i in range(at, min(at + 20_000, rows)))
            cursor.execute("INSERT INTO sink VALUES " + values)
        cursor.execute("COMMIT")
        return f"{rows} rows committed"

    return run


def prepared(count):
    def run(server):
        cursor = server.connect(read_timeout=900).cursor()
        for i in range(count):
            cursor.execute(f"PREPARE p{i} FROM 'SELECT {i} + v FROM beside WHERE id = ?'")
        cursor.execute("SET @x = 7")
        cursor.execute(f"EXECUTE p{count - 1} USING @x")
        return f"{count} prepared, the last gives {cursor.fetchall()[0][0]}"

    return run


def together(count, setup, sql):
    """The same statement in several sessions: who is ended, and by what."""

    def run(server):
        outcomes = []

        def one_session():
            try:
                cursor = server.connect(read_timeout=900).cursor()
                cursor.execute(setup)
                cursor.execute(sql)
                cursor.fetchall()
                outcomes.append("answered")
            except pymysql.Error as error:
                outcomes.append(f"error {error.args[0]}")

        threads = [threading.Thread(target=one_session) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ", ".join(f"{outcomes.count(kind)} {kind}" for kind in sorted(set(outcomes)))

    return run


def cases(scale):
    k = lambda number: max(1, int(number * scale))
    chain = " WHERE " + " AND ".join(f"t{i}.id = t{i - 1}.a" for i in range(1, 40))
    ctes = "WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c) SELECT COUNT(*) FROM c"
    doubling = "WITH c0 AS (SELECT 1 a)" + "".join(f", c{i} AS (SELECT x.a FROM c{i - 1} x, c{i - 1} y)" for i in range(1, 31))
    return [
        ("join40", "join of 40 tables along keys", one(joined(40, chain))),
        ("cross40", "cross join of 40 tables of ten rows, sorted", steps(
            "SET max_execution_time = 60000",
            "SELECT t0.a FROM " + ", ".join(f"j t{i}" for i in range(40)) + " ORDER BY t5.a, t30.b")),
        ("ctes", "30 common table expressions, each naming the one before twice", one(doubling + " SELECT COUNT(*) FROM c30")),
        ("sort", "cross join of 100 million rows, sorted", one(
            f"SELECT n FROM {numbers(k(100_000_000))} ORDER BY n % 1009, n LIMIT 1 OFFSET {k(50_000_000)}")),
        ("group", "GROUP BY of 20 million distinct keys", one(
            f"SELECT COUNT(*) FROM (SELECT n, COUNT(*) c FROM {numbers(k(20_000_000))} GROUP BY n) g")),
        ("concat", "GROUP_CONCAT of a gigabyte", steps(
            "SET group_concat_max_len = 4294967295",
            f"SELECT LENGTH(GROUP_CONCAT(REPEAT('x', 1000))) FROM {numbers(k(1_000_000))}")),
        ("in", "IN list of a million values", one(
            "SELECT COUNT(*) FROM big WHERE k IN (" + ",".join(str(i * 3) for i in range(k(1_000_000))) + ")")),
        ("in_key", "IN list of a million values over the primary key", one(
            "SELECT COUNT(*) FROM big WHERE id IN (" + ",".join(str(i * 3) for i in range(k(1_000_000))) + ")")),
        ("or", "OR of 50,000 pairs", one(
            "SELECT COUNT(*) FROM j WHERE " + " OR ".join(f"(a = {i} AND b = {i % 7})" for i in range(k(50_000))))),
        ("union", "10,000 UNIONs", one("SELECT COUNT(*) FROM (" + " UNION ".join(f"SELECT {i}" for i in range(k(10_000))) + ") u")),
        ("insert", "INSERT of 500,000 rows in one statement", steps(
            "TRUNCATE sink", "INSERT INTO sink VALUES " + ",".join(f"({i},'value of {i}')" for i in range(k(500_000))),
            "SELECT COUNT(*) FROM sink", "TRUNCATE sink")),
        ("text64", "statement of 64 MiB, one literal", one("SELECT LENGTH('" + "x" * (k(64 << 20) - 100) + "')")),
        ("list64", "statement of 64 MiB, millions of literals", one(
            "SELECT 1 IN (" + ",".join(["7"] * (k(64 << 20) // 2 - 50)) + ")")),
        ("parens", "5,000 nested parentheses", one("SELECT " + "(" * 5000 + "1" + ")" * 5000)),
        ("cte1000", "recursion without end", one(ctes)),
        ("cte_huge", "recursion without end, the bound raised to 20 million", steps(
            f"SET cte_max_recursion_depth = {k(20_000_000)}", "SET max_execution_time = 60000", ctes)),
        ("cte_wide", "recursion that doubles its rows each time", steps(
            "SET cte_max_recursion_depth = 1000",
            "WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + x FROM c, (SELECT 1 x UNION ALL SELECT 2) d) "
            "SELECT COUNT(*) FROM c")),
        ("update", "UPDATE of every row without a key", one("UPDATE big SET k = k + 1 WHERE k % 2 = 0")),
        ("transaction", "transaction of 5 million rows", transaction(k(5_000_000))),
        ("prepared", "10,000 prepared statements", prepared(max(100, k(10_000)))),
        ("together", "eight GROUP_CONCATs of 700 MB at once", together(
            8, "SET group_concat_max_len = 4294967295",
            f"SELECT LENGTH(GROUP_CONCAT(REPEAT('x', 1000))) FROM {numbers(k(700_000))}")),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release/basalt"))
    parser.add_argument("--limit", default="4GiB", help="memory_limit of the server")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--data", help="folder for the server's data")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the large table, before scaling")
    arguments = parser.parse_args()
    only = [name for name in arguments.only.split(",") if name]
    server = Server(arguments.binary, arguments.limit, arguments.data)
    load(server, max(1000, int(arguments.rows * arguments.scale)))
    has_sysbench = shutil.which("sysbench") is not None
    if has_sysbench:
        subprocess.run(sysbench(server) + ["prepare"], check=True, stdout=subprocess.DEVNULL)
    failed = False
    print("| statement | answer | peak RSS | seconds | beside it |\n|---|---|---|---|---|", flush=True)
    for name, title, run in cases(arguments.scale):
        if only and name not in only:
            continue
        beside = Sysbench(server) if has_sysbench else Beside(server)
        began = time.time()
        try:
            answer = run(server)
        except (pymysql.Error, OSError) as error:
            answer = f"{error.args[0]}: {str(error.args[-1])[:150]}"
        seconds = time.time() - began
        # The clients beside report once a second.
        time.sleep(max(0.5, 3.5 - seconds))
        rest = beside.end()
        failed |= bool(beside.errors) or server.process.poll() is not None
        print(f"| {title} | {answer} | {beside.peak:,} MiB | {seconds:.1f} | {rest} |", flush=True)
        if server.process.poll() is not None:
            print("the server died: see " + os.path.join(server.folder, "log"))
            sys.exit(1)
    failed |= not server.stop()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
