#!/usr/bin/env python3
"""Makes each mistake of docs/mistakes.md that the code could make, one at a time, and says which net catches it.

    bench/mutants.py [M1 M7 ...] [--seeds N] [--json]

Builds the tests once with the feature `mutants` (common/src/mutant.rs), then runs them with BASALT_MUTANT set: unit tests and
golden scripts, the client's tests, and N seeds of the simulation, until one fails. Without a mistake all must pass. Ends with
an error when a mistake is not caught that has no reason below.
"""
import argparse, json, os, re, subprocess, sys, time

# Mistakes that this code cannot make, and why.
NOT_HERE = {
    "M17": "pessimistic locks are replicated records: splits, leaders and transfers have them like any data",
    "M19": "there are no follower reads",
    "M21": "there is no merge of regions",
    "M23": "there is no merge of regions",
    "M35": "only a real process stands still: tests/system/many_servers.rs stops one",
    "M28": "the backfill of an index is SQL's: tests/system/owner_dies.rs kills its owner, servers and stores",
}
ALL = [f"M{number}" for number in range(1, 36)]
PACKAGES = ["basalt-common", "basalt-pd", "basalt-client", "basalt-storage"]


def build():
    """Paths of the test programs, each with the folder it runs in."""
    flags = [flag for package in PACKAGES for flag in ("-p", package)]
    command = ["cargo", "test", "--release", "--locked", "--no-run", "--message-format=json", *flags,
               "-p", "basalt-tests", "--test", "client", "--lib", "--test", "golden", "--test", "simulation",
               "--features", "basalt-common/mutants"]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = []
    for line in out.splitlines():
        message = json.loads(line)
        if message.get("executable") and message.get("profile", {}).get("test"):
            found.append((message["target"]["name"], message["executable"], os.path.dirname(message["manifest_path"])))
    return found


def first_failure(output):
    failed = re.search(r"^test (\S+) \.\.\. FAILED", output, re.M)
    seed = re.search(r"seed (\d+)", output)
    name = failed.group(1) if failed else "ended early"
    return f"{name}, seed {seed.group(1)}" if seed and "simulation" not in name and "seed" not in name else name


def run(programs, mutant, seeds):
    """What catches a mutant, and how long that took; None when nothing does."""
    began = time.monotonic()
    env = dict(os.environ, BASALT_MUTANT=mutant, BASALT_SIM_SEEDS=f"1..{seeds + 1}", RUST_BACKTRACE="0")
    for name, path, folder in programs:
        try:
            done = subprocess.run([path], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=900)
            output, failed = done.stdout, done.returncode != 0
        except subprocess.TimeoutExpired as late:
            output, failed = (late.stdout or b"").decode(errors="replace"), True
        if failed:
            return f"{name}: {first_failure(output)}", time.monotonic() - began
    return None, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mutants", nargs="*", help="of M1 to M35; all without")
    parser.add_argument("--seeds", type=int, default=60, help="of the simulation, each [60]")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    unknown = set(args.mutants) - set(ALL)
    if unknown:
        parser.error(f"no mutants: {', '.join(sorted(unknown))}")
    # The quick ones first.
    order = {"simulation": 2, "client": 1}
    programs = sorted(build(), key=lambda program: order.get(program[0], 0))
    caught, took = run(programs, "", args.seeds)
    if caught:
        sys.exit(f"without a mutant: {caught}")
    print(f"{'none':5} {took:5.0f} s  passes", flush=True)
    missed, rows = [], []
    for mutant in args.mutants or ALL:
        if mutant in NOT_HERE:
            caught, took, text = None, 0, f"not here: {NOT_HERE[mutant]}"
        else:
            caught, took = run(programs, mutant, args.seeds)
            text = caught or "NOT CAUGHT"
            missed += [] if caught else [mutant]
        rows.append({"mutant": mutant, "caught": caught, "seconds": round(took, 1), "text": text})
        print(f"{mutant:5} {took:5.0f} s  {text}", flush=True)
    if args.json:
        print(json.dumps(rows))
    count = sum(1 for row in rows if row["caught"])
    print(f"{count} of {len(rows)} caught, {len(missed)} not, {len(rows) - count - len(missed)} not here")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
