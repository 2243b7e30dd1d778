#!/usr/bin/env python3
"""Writes expressions/precedence_pairs*.slt: every two operators side by side, with MySQL's answers.

    MYSQL_PORT=3499 tests/slt/precedence.py

For `a op1 b op2 c` operands are searched for which the two groupings have different values, so that an answer tells how
the text was grouped. Pairs that MySQL refuses are records of their own.
"""
import itertools
import os
import pathlib

import pymysql

from fill import cell, connect

# Text, whether an operand stands on the left, whether one stands on the right.
BINARY = ["OR", "||", "XOR", "AND", "&&", "=", "<=>", "<>", "<", ">=", "|", "&", "<<", ">>", "+", "-", "*", "/", "DIV", "MOD", "%",
          "^", "LIKE", "NOT LIKE", "REGEXP", "NOT REGEXP", "BETWEEN 1 AND", "NOT BETWEEN 0 AND"]
POSTFIX = ["IS NULL", "IS NOT NULL", "IS TRUE", "IS NOT FALSE", "IS UNKNOWN", "IN (1, 2)", "NOT IN (0, 3)", "COLLATE utf8mb4_bin",
           "BETWEEN 0 AND 1", "= ANY (SELECT 1)", "LIKE '1' ESCAPE '/'"]
PREFIX = ["NOT", "!", "-", "~", "BINARY", "DATE'2024-01-31' + INTERVAL 1 DAY +", "CASE 1 WHEN 1 THEN 2 END +"]
OPERATORS = ([(o, True, True) for o in BINARY] + [(o, True, False) for o in POSTFIX] + [(o, False, True) for o in PREFIX])
INTEGERS = ["0", "1", "2", "3", "5", "-1", "NULL"]
TEXTS = ["'a'", "'1'", "'0'", "'2'"]


def texts(op1, op2, values):
    """The pair without parentheses, and grouped to the left and to the right where that can be."""
    (o1, l1, r1), (o2, l2, r2) = op1, op2
    a, b, c = values
    shared = b if r1 and l2 else ""
    a, c = a if l1 else "", c if r2 else ""
    plain = f"{a} {o1} {shared} {o2} {c}"
    left = f"({a} {o1} {shared}) {o2} {c}" if l2 else None
    right = f"{a} {o1} ({shared} {o2} {c})" if r1 else None
    return [" ".join(t.split()) if t else None for t in (plain, left, right)]


def value(cursor, text):
    """What an expression is, or the number of the error it is."""
    try:
        cursor.execute("SELECT " + text)
        return cell(cursor.fetchone()[0])
    except pymysql.err.MySQLError as error:
        return error.args[0]


def answer(cursor, op1, op2):
    """The pair with operands that tell groupings apart, if any do, and its value."""
    first = None
    domain = INTEGERS if "COLLATE" not in op1[0] + op2[0] else TEXTS
    for values in itertools.product(domain, repeat=3):
        plain, left, right = texts(op1, op2, values)
        got = value(cursor, plain)
        if got == 1064:
            return plain, got
        if isinstance(got, int):
            continue
        first = first or (plain, got)
        if left is None or right is None:
            return plain, got
        other = [value(cursor, t) for t in (left, right)]
        if not any(isinstance(v, int) for v in other) and other[0] != other[1]:
            return plain, got
    return first


def write(path, mode, pairs):
    conn = connect()
    cursor = conn.cursor()
    out = ["# Made by precedence.py: every pair of operators, with operands whose two groupings differ. MariaDB groups some otherwise.", ""]
    if mode:
        statement = f"SET sql_mode = CONCAT(@@sql_mode, ',{mode}')"
        cursor.execute(statement)
        out += ["statement ok", statement, ""]
    row, refused = [], []
    for op1, op2 in pairs:
        found = answer(cursor, op1, op2)
        if found is None:
            continue
        if found[1] == 1064:
            refused.append(found[0])
        else:
            row.append(found)
    for start in range(0, len(row), 8):
        part = row[start:start + 8]
        out += ["skipif mariadb", "query", "SELECT " + ", ".join(t for t, _ in part), "----", "\t".join(v for _, v in part), ""]
    for text in refused:
        out += ["skipif mariadb", "statement error ERROR 1064", "SELECT " + text, ""]
    path.write_text("\n".join(out).rstrip("\n") + "\n")


def main():
    folder = pathlib.Path(__file__).parent / "expressions"
    everything = [(a, b) for a, b in itertools.product(OPERATORS, repeat=2) if a[2] or b[1]]
    having = lambda *words: [p for p in everything if any(o[0] in words for o in p)]
    write(folder / "precedence_pairs.slt", "", everything)
    write(folder / "precedence_pairs_concat.slt", "PIPES_AS_CONCAT", having("||"))
    write(folder / "precedence_pairs_high_not.slt", "HIGH_NOT_PRECEDENCE", having("NOT", "!"))


main()
