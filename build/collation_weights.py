#!/usr/bin/env python3
"""Writes the collation weights of expr/src/collation/weights: one file a table, in the form that tables.rs reads.

    pip install pyuca
    build/collation_weights.py --mysql "mysql -h127.0.0.1 -P3306 -uroot"

| file        | collations                   | from                                                                        |
|-------------|------------------------------|-----------------------------------------------------------------------------|
| uca0900.bin | utf8mb4_0900_*               | allkeys-9.0.0.txt of the Unicode Consortium, which the package pyuca ships    |
| uca0400.bin | utf8mb{3,4}_unicode_ci       | a MariaDB server's WEIGHT_STRING of every code point: UCA 4.0.0               |
| general.bin | utf8mb{3,4}_general_ci       | the same                                                                    |
| swedish.bin | latin1_swedish_ci            | the same, of the 256 characters of latin1                                    |

UCA 9.0.0 is taken as MySQL's own uca9-dump takes it: contractions are left out (MySQL's root collation has none), no
character has more than 8 collation elements (only U+FDFA would), variable elements count as any other, and what the file
does not list is computed from the code point: Han, Tangut, Hangul, unassigned. Those are left out here and computed in
Rust. A server is asked only for the other three files; without --mysql they stay as they are.

--check asks the server again and compares every code point with what the files say.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections import Counter

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../expr/src/collation/weights")
ELEMENTS_MAX = 8
SURROGATES = range(0xD800, 0xE000)


def allkeys():
    """Code point to list of (primary, secondary, tertiary), of single characters."""
    import pyuca

    path = os.path.join(os.path.dirname(pyuca.__file__), "allkeys-9.0.0.txt")
    out = {}
    for line in open(path, encoding="utf-8"):
        match = re.match(r"([0-9A-F ]+?)\s*;\s*((?:\[.*\])+)", line)
        if not match or " " in match[1]:
            continue
        elements = re.findall(r"\[[.*]([0-9A-F]+)\.([0-9A-F]+)\.([0-9A-F]+)\]", match[2])[:ELEMENTS_MAX]
        # An element that every level ignores says nothing.
        elements = [tuple(int(weight, 16) for weight in element) for element in elements]
        out[int(match[1], 16)] = [e for e in elements if e != (0, 0, 0)]
    return out


def server_weights(mysql, collation, charset="utf8mb4", last=0x10FFFF):
    """Code point to list of weights, as the server's WEIGHT_STRING has them."""
    size = 2 if charset == "utf8mb4" else 1
    source = "utf32" if charset == "utf8mb4" else charset
    text = f"CONVERT(CHAR(seq USING {source}) USING {charset}) COLLATE {collation}"
    code = f"CONV(HEX(CONVERT(CHAR(seq USING {source}) USING utf32)), 16, 10)"
    sql = f"SELECT {code}, HEX(WEIGHT_STRING({text})) FROM mysql.seq_0_to_{last} WHERE seq NOT BETWEEN 55296 AND 57343"
    answer = subprocess.run(
        shlex.split(mysql) + ["-N", "-B", "--default-character-set=utf8mb4", "-e", sql],
        check=True, capture_output=True, text=True,
    ).stdout
    out = {}
    for line in answer.split("\n"):
        if line:
            code, weights = line.split("\t")
            digits = 2 * size
            out[int(code)] = [int(weights[at:at + digits], 16) for at in range(0, len(weights), digits)]
    return out


def implicit_0400(code):
    if code > 0xFFFF:
        return [0xFFFD]
    if 0x3400 <= code <= 0x4DB5:
        base = 0xFB80
    elif 0x4E00 <= code <= 0x9FA5:
        base = 0xFB40
    else:
        base = 0xFBC0
    return [base + (code >> 15), code & 0x7FFF | 0x8000]


def implicit_simple(code):
    return [code if code <= 0xFFFF else 0xFFFD]


def one_level(weights, implicit):
    """What differs from the computed weights, as elements of one level."""
    return {code: [(w, 0, 0) for w in list_] for code, list_ in weights.items() if list_ != implicit(code)}


def varint(out, value):
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def zigzag(out, value):
    varint(out, value * 2 if value >= 0 else -value * 2 - 1)


def encode(levels, table):
    """The file of a table; its form is drawn in expr/src/collation/tables.rs."""
    elements = sorted({e for list_ in table.values() for e in list_})
    number = {e: at + 1 for at, e in enumerate(elements)}
    tails = [tail for tail, _ in Counter(e[1:] for e in elements).most_common()]
    strings = sorted({tuple(number[e] for e in list_) for list_ in table.values() if len(list_) > 1})
    string_number = {s: len(elements) + 1 + at for at, s in enumerate(strings)}

    out = bytearray([levels])
    varint(out, len(tails))
    for secondary, tertiary in tails:
        varint(out, secondary)
        varint(out, tertiary)
    varint(out, len(elements))
    before = 0
    for primary, secondary, tertiary in elements:
        step = primary - before
        varint(out, tails.index((secondary, tertiary)) * 3 + min(step, 2))
        if step >= 2:
            varint(out, step)
        before = primary
    varint(out, len(strings))
    for string in strings:
        varint(out, len(string))
        before = 0
        for id_ in string:
            zigzag(out, id_ - before)
            before = id_

    runs = []
    for code in sorted(table):
        if runs and runs[-1][-1] == code - 1:
            runs[-1].append(code)
        else:
            runs.append([code])
    varint(out, len(runs))
    end = 0
    before = 0
    for run in runs:
        varint(out, run[0] - end)
        varint(out, len(run))
        end = run[-1] + 1
        for code in run:
            list_ = table[code]
            id_ = 0 if not list_ else number[list_[0]] if len(list_) == 1 else string_number[tuple(number[e] for e in list_)]
            zigzag(out, id_ - before - 1)
            before = id_
    return bytes(out)


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def decode(data):
    """The inverse of encode."""
    at = 1

    def number():
        nonlocal at
        value, at = read_varint(data, at)
        return value

    def signed():
        value = number()
        return value // 2 if value % 2 == 0 else -(value + 1) // 2

    tails = [(number(), number()) for _ in range(number())]
    strings = [[]]
    primary = 0
    for _ in range(number()):
        tail, step = divmod(number(), 3)
        primary += number() if step == 2 else step
        strings.append([(primary, *tails[tail])])
    for _ in range(number()):
        string, before = [], 0
        for _ in range(number()):
            before += signed()
            string += strings[before]
        strings.append(string)
    table, code, before = {}, 0, 0
    for _ in range(number()):
        code += number()
        for _ in range(number()):
            before += 1 + signed()
            table[code] = strings[before]
            code += 1
    assert at == len(data)
    return table


def write(name, levels, table):
    data = encode(levels, table)
    assert decode(data) == table
    with open(os.path.join(FOLDER, name), "wb") as file:
        file.write(data)
    print(f"{name}: {len(table)} characters, {len(data)} bytes")


def sources(mysql):
    return [
        ("uca0400.bin", implicit_0400, lambda: server_weights(mysql, "utf8mb4_unicode_ci")),
        ("general.bin", implicit_simple, lambda: server_weights(mysql, "utf8mb4_general_ci")),
        ("swedish.bin", implicit_simple, lambda: server_weights(mysql, "latin1_swedish_ci", "latin1", 255)),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mysql", help="a client command that reaches a MariaDB server")
    parser.add_argument("--check", action="store_true", help="compare the files with the server and write nothing")
    args = parser.parse_args()
    if args.check:
        wrong = 0
        for name, implicit, ask in sources(args.mysql):
            table = decode(open(os.path.join(FOLDER, name), "rb").read())
            weights = ask()
            bad = [c for c, w in weights.items() if w != ([e[0] for e in table[c]] if c in table else implicit(c))]
            print(f"{name}: {len(weights)} characters, {len(bad)} mismatches")
            wrong += len(bad)
        sys.exit(wrong != 0)
    os.makedirs(FOLDER, exist_ok=True)
    write("uca0900.bin", 3, allkeys())
    if args.mysql:
        for name, implicit, ask in sources(args.mysql):
            write(name, 1, one_level(ask(), implicit))


if __name__ == "__main__":
    main()
