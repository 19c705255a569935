#!/usr/bin/python3
"""Is a missing cure seen?  Each patch below mutants/ takes one cure away from
a copy of the tree; a run against that build must fail.

usage: mutants.py [--seed N]... [--minutes M] [--jobs N] [NAME...]

A patch's first line says what it takes away; a line "seeds: 3 8" names the
seeds that it is tried with, one after the other until one fails; without it
those of --seed.  A mutant that survives all of them, or a patch that does not
apply any more, is a failure.
"""

import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PARTS = ["Makefile", "mta.c", "src", "include", "build/src", "build/mta.o",
         "build/libmta.a"]


def command(args, where):
    return subprocess.run(args, cwd=where, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          encoding="utf-8", errors="replace")


def build(patch, where):
    """A tree with the patch, built; objects of the rest are ours."""
    shutil.rmtree(where, ignore_errors=True)
    for part in PARTS:
        if os.path.exists(os.path.join(ROOT, part)):
            os.makedirs(os.path.join(where, os.path.dirname(part)),
                        exist_ok=True)
            subprocess.run(["cp", "-a", os.path.join(ROOT, part),
                            os.path.join(where, part)], check=True)
    done = command(["patch", "-p1", "--no-backup-if-mismatch", "-i", patch],
                   where)
    if done.returncode == 0:
        done = command(["make", "-s", "all"], where)
    return None if done.returncode == 0 else done.stdout


def title_and_seeds(patch, seeds):
    with open(patch, encoding="utf-8") as f:
        head = f.read().partition("\n--- ")[0]
    own = re.search(r"^seeds: (.*)$", head, re.M)
    return head.splitlines()[0], own[1].split() if own else seeds


def judge(patch, args):
    """(seen, a line about it)"""
    name = os.path.basename(patch)[:-len(".patch")]
    where = os.path.join(ROOT, "build", "liveness", "mutants", name)
    title, seeds = title_and_seeds(patch, args.seed)
    wrong = build(patch, where)
    if wrong is not None:
        return False, "%s: does not apply or build: %s" % (name, wrong)
    env = dict(os.environ, MTA=os.path.join(where, "mta"))
    said = ""
    for seed in seeds:
        done = subprocess.run(
            [sys.executable, os.path.join(HERE, "liveness.py"), "--seed",
             str(seed), "--minutes", str(args.minutes)],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace")
        said = done.stdout
        if done.returncode == 1 and "FAILED: " in said:
            shutil.rmtree(where)
            return True, "%s: seen (seed %s: %s): %s" % (
                name, seed, ", ".join(re.findall("^FAILED: (.{,40})", said,
                                                 re.M)), title)
        if done.returncode != 0:
            break
    return False, "%s: SURVIVED: %s\n%s" % (name, title, said)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", action="append", default=[])
    ap.add_argument("--minutes", type=float, default=45)
    ap.add_argument("--jobs", type=int, default=2)
    ap.add_argument("names", nargs="*")
    args = ap.parse_args()
    args.seed = args.seed or ["2", "4"]
    patches = sorted(glob.glob(os.path.join(HERE, "mutants", "*.patch")))
    if args.names:
        patches = [p for p in patches
                   if os.path.basename(p)[:-len(".patch")] in args.names]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for seen, line in pool.map(lambda p: judge(p, args), patches):
            print(line, flush=True)
            failed += not seen
    print("%d passed, %d failed" % (len(patches) - failed, failed))
    return 1 if failed or not patches else 0


if __name__ == "__main__":
    sys.exit(main())
