#!/usr/bin/env python3
"""Fills in the answers of slt records from a MariaDB or a MySQL, and checks those that are there.

    tests/slt/fill.py [--check] FILE...      MYSQL_PORT (3406) on 127.0.0.1, user root without a password

A query record whose answer is a lone `?` after `----` gets MariaDB's answer; `statement ?` becomes ok, `count N` or
`error ERROR nnnn`. Every other record is compared and differences are printed. Records under `skipif mariadb` are
left alone: they hold MySQL's answer, written by hand. README.md in this folder has the format of records and cells.
"""
import fcntl
import os
import re
import sys
import tempfile

import pymysql
from pymysql.constants import CLIENT

MYSQL_SETUP = ["SET SESSION time_zone='+00:00'", "SET NAMES utf8mb4", "SET SESSION innodb_lock_wait_timeout=1"]
MARIADB_SETUP = [
    "SET SESSION sql_mode='ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
    "SET SESSION time_zone='+00:00'",
    "SET NAMES utf8mb4 COLLATE utf8mb4_uca1400_nopad_ai_ci",
    "SET SESSION innodb_lock_wait_timeout=1",
    "SET SESSION div_precision_increment=4",
]


def connect(database=None):
    """A session set up as a new one of MySQL 8; values come back as the bytes that were sent."""
    conn = pymysql.connect(host="127.0.0.1", port=int(os.environ.get("MYSQL_PORT", "3406")), user="root", database=database,
                           charset="utf8mb4", autocommit=True, client_flag=CLIENT.FOUND_ROWS * 0, conv={}, use_unicode=False)
    with conn.cursor() as cur:
        cur.execute("SELECT VERSION()")
        conn.engine = "mariadb" if b"MariaDB" in cur.fetchone()[0] else "mysql"
        for statement in MARIADB_SETUP if conn.engine == "mariadb" else MYSQL_SETUP:
            cur.execute(statement)
    return conn


def cell(value):
    """One cell as text; see README.md."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        value = value.encode()
    if value == b"":
        return "(empty)"
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return "0x" + value.hex().upper()
    if any((ord(c) < 32 and c not in "\t\n\r") or c == "\x7f" for c in text):
        return "0x" + value.hex().upper()
    text = text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    body = text.strip(" ")
    if body == "":
        return "\\s" * len(text)
    front = len(text) - len(text.lstrip(" "))
    back = len(text) - len(text.rstrip(" "))
    return "\\s" * front + body + "\\s" * back


def blocks(lines):
    """Records are separated by empty lines; a comment line belongs to the record that it precedes."""
    block = []
    for line in lines + [""]:
        if line.strip() == "":
            if block:
                yield block
            block = []
        else:
            block.append(line)


def run(conn, sql):
    with conn.cursor() as cur:
        affected = cur.execute(sql.encode() if isinstance(sql, str) else sql)
        rows = cur.fetchall() if cur.description is not None else None
        while cur.nextset():
            pass
        return affected, rows


def process(path, check):
    """Runs one file; returns (records, differences)."""
    base = connect()
    run(base, "DROP DATABASE IF EXISTS slt")
    collation = "COLLATE utf8mb4_uca1400_nopad_ai_ci" if base.engine == "mariadb" else ""
    run(base, f"CREATE DATABASE slt DEFAULT CHARACTER SET utf8mb4 {collation}")
    conns = {"": connect("slt")}
    name, out, differences, records = "", [], 0, 0
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")
    for block in blocks(lines):
        i, skip = 0, False
        connection = name
        while i < len(block):
            line = block[i]
            if line.startswith("#"):
                pass
            elif line.startswith("skipif "):
                skip |= line.split()[1] == base.engine
            elif line.startswith("onlyif "):
                skip |= line.split()[1] != base.engine
            elif line.startswith("connection "):
                connection = line.split()[1]
                connection = "" if connection == "default" else connection
            else:
                break
            i += 1
        if i == len(block) or not block[i].startswith(("statement", "query")):
            out.append(block)
            continue
        records += 1
        if skip:
            out.append(block)
            continue
        head = block[i]
        rest = block[i + 1:]
        cut = rest.index("----") if "----" in rest else len(rest)
        sql, expected = "\n".join(rest[:cut]), rest[cut + 1:]
        if connection not in conns:
            conns[connection] = connect("slt")
        try:
            affected, rows, error = *run(conns[connection], sql), None
        except pymysql.MySQLError as e:
            code = e.args[0]
            if code in (2006, 2013, 0):
                raise SystemExit(f"{path}: lost the server at {sql}")
            affected, rows, error = None, None, f"ERROR {code}: {e.args[1]}"
        if head.startswith("statement"):
            spec = head[len("statement"):].strip()
            if spec == "?":
                if error:
                    head = "statement error " + error.split(":")[0]
                elif rows is None and re.match(r"(?is)\s*(insert|update|delete|replace|load|with)", sql):
                    head = f"statement count {affected}"
                else:
                    head = "statement ok"
            else:
                good = {"ok": error is None}.get(spec)
                if spec.startswith("count"):
                    good = error is None and affected == int(spec.split()[1])
                elif spec.startswith("error"):
                    good = error is not None and re.search(spec[5:].strip() or ".", error) is not None
                if not good:
                    differences += 1
                    print(f"{path}: {sql}\n  record: {spec}\n  {base.engine}: {error or affected}")
            out.append(block[:i] + [head] + rest)
            continue
        if error:
            differences += 1
            print(f"{path}: {sql}\n  {base.engine}: {error}")
            out.append(block)
            continue
        got = ["\t".join(cell(v) for v in row) for row in rows or []]
        if "rowsort" in head:
            got.sort(key=lambda r: r.split("\t"))
            if expected != ["?"]:
                expected.sort(key=lambda r: r.split("\t"))
        if expected == ["?"]:
            parts = head.split()
            parts[1:2] = ["T" * max(1, len(rows[0]) if rows else 1)] if len(parts) == 1 or parts[1] in ("rowsort", "nosort") or not parts[1].strip("T?") else [parts[1]]
            out.append(block[:i] + [head] + rest[:cut] + ["----"] + got)
        else:
            out.append(block)
            if got != expected:
                differences += 1
                print(f"{path}: {sql}\n  record:\n    " + "\n    ".join(expected) + "\n  server:\n    " + "\n    ".join(got))
    for conn in conns.values():
        conn.close()
    run(base, "DROP DATABASE IF EXISTS slt")
    if not check:
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n\n".join("\n".join(b) for b in out) + "\n")
    return records, differences


def main():
    check = "--check" in sys.argv
    records = differences = 0
    lock = open(os.path.join(tempfile.gettempdir(), "basalt-slt.lock"), "w")  # the database is called `slt` in every run
    for path in [a for a in sys.argv[1:] if not a.startswith("--")]:
        fcntl.flock(lock, fcntl.LOCK_EX)
        n, d = process(path, check)
        records, differences = records + n, differences + d
        fcntl.flock(lock, fcntl.LOCK_UN)
    print(f"{records} records, {differences} differences")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
