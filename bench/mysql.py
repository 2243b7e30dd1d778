#!/usr/bin/env python3
"""A MySQL to ask what the right answer is, on a Debian that has none.

    bench/mysql.py start [PORT]     fetches MySQL from Debian sid unless it is there, and starts it (3499)
    bench/mysql.py stop             ends it

Its packages are unpacked into ~/.cache/basalt/mysql with the libraries they need, the C library included: nothing is installed.
It listens on 127.0.0.1 for root without a password. tests/slt/fill.py takes answers from it (MYSQL_PORT=3499), the generator asks
it where MariaDB differs (GENERATOR_JUDGE=mysql://root@127.0.0.1:3499).
"""
import lzma
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

MIRROR = "http://deb.debian.org/debian/"
PACKAGE = "mysql-server-core"
# Needed to set a server up as Debian does, not to run it.
UNWANTED = re.compile(r"debconf|perl.*|adduser|init-system-helpers|psmisc|mysql-common")
HOME = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "basalt/mysql")
ROOT, DATA, PID, LOG = (os.path.join(HOME, name) for name in ("root", "data", "mysqld.pid", "mysqld.log"))
START_SECONDS = 60


def packages():
    """Debian sid's packages by name, and who provides a name that is none."""
    by_name, provided = {}, {}
    with urllib.request.urlopen(MIRROR + "dists/sid/main/binary-amd64/Packages.xz") as answer:
        text = lzma.decompress(answer.read()).decode()
    for paragraph in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.split("\n") if line[:1] != " " and ": " in line)
        if "Package" not in fields:
            continue
        by_name[fields["Package"]] = fields
        for name in re.findall(r"[^\s,()]+(?=\s*(?:\(|,|$))", fields.get("Provides", "")):
            provided.setdefault(name, fields["Package"])
    return by_name, provided


def needed(by_name, provided):
    """PACKAGE and everything it depends on, the first of alternatives."""
    found, todo = set(), [PACKAGE]
    while todo:
        name = todo.pop().split(":")[0]
        name = name if name in by_name else provided.get(name)
        if name is None or name in found or UNWANTED.fullmatch(name):
            continue
        found.add(name)
        for field in ("Depends", "Pre-Depends"):
            groups = [group for group in by_name[name].get(field, "").split(",") if group.strip()]
            todo.extend(group.split("|")[0].split()[0] for group in groups)
    return found


def fetch():
    by_name, provided = packages()
    names = sorted(needed(by_name, provided))
    partial = ROOT + ".partial"
    for done, name in enumerate(names):
        print(f"\r{done + 1}/{len(names)} {name:40}", end="", file=sys.stderr, flush=True)
        archive = os.path.join(HOME, "package.deb")
        urllib.request.urlretrieve(MIRROR + by_name[name]["Filename"], archive)
        subprocess.run(["dpkg-deb", "-x", archive, partial], check=True)
        os.remove(archive)
    print(f"\rMySQL {by_name[PACKAGE]['Version']} from Debian sid{'':30}", file=sys.stderr)
    os.rename(partial, ROOT)


def server(*arguments):
    """mysqld's command, run by the loader that it came with."""
    libraries, share = os.path.join(ROOT, "usr/lib/x86_64-linux-gnu"), os.path.join(ROOT, "usr/share/mysql")
    user = ["--user=root"] if os.geteuid() == 0 else []
    return [os.path.join(libraries, "ld-linux-x86-64.so.2"), "--library-path",
            f"{libraries}:{ROOT}/usr/lib/mysql/private", os.path.join(ROOT, "usr/sbin/mysqld"), "--no-defaults",
            f"--basedir={ROOT}/usr", f"--lc-messages-dir={share}", f"--character-sets-dir={share}/charsets",
            f"--datadir={DATA}", f"--socket={HOME}/mysqld.sock", f"--pid-file={PID}", f"--log-error={LOG}", *user, *arguments]


def running():
    try:
        with open(PID) as file:
            pid = int(file.read())
        os.kill(pid, 0)
        return pid
    except (OSError, ValueError):
        return None


def start(port):
    os.makedirs(HOME, exist_ok=True)
    if running():
        sys.exit("mysql: it runs already; bench/mysql.py stop ends it")
    if not os.path.isdir(ROOT):
        fetch()
    if not os.path.isdir(DATA):
        subprocess.run(server("--initialize-insecure"), check=True)
    open(LOG, "w").close()
    child = subprocess.Popen(server(f"--port={port}", "--bind-address=127.0.0.1", "--secure-file-priv=", "--mysqlx=OFF"),
                             start_new_session=True)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and child.poll() is None:
        with open(LOG) as log:
            if "ready for connections" in log.read():
                print(f"ready: mysql -h127.0.0.1 -P{port} -uroot")
                return
        time.sleep(0.2)
    sys.exit(f"mysql: it did not start; {LOG} says why")


def stop():
    pid = running()
    if pid:
        os.kill(pid, signal.SIGTERM)
        while running():
            time.sleep(0.1)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["start"]:
            start(3499)
        case ["start", port] if port.isdigit():
            start(int(port))
        case ["stop"]:
            stop()
        case _:
            sys.exit(__doc__)
