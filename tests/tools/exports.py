#!/usr/bin/python3
"""Refuse exports that no other object of the program uses: what only its own
file needs is static, what only tests need is not part of the program.

usage: exports.py [--shrink] OBJECT...   objects and archives of the program

exports.allow holds those that are still to be pruned, a name a line; the list
may only become shorter.  --shrink takes out what is pruned."""

import os
import re
import subprocess
import sys

ALLOW = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                     "exports.allow")


def symbols(paths):
    """{name: object that defines it}, {name: {objects that use it}}"""
    out = subprocess.run(["nm", "-A", "-g"] + paths, check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    defined, used = {}, {}
    for m in re.finditer(r"^(.+):[0-9a-f ]{16} (\w) (\w+)$", out, re.M):
        where, kind, name = m.groups()
        if kind == "U":
            used.setdefault(name, set()).add(where)
        else:
            defined[name] = where
    return defined, used


def allowed():
    with open(ALLOW) as f:
        return [line.strip() for line in f if line.strip() and line[0] != "#"]


def shrink(unused):
    with open(ALLOW) as f:
        lines = [line for line in f
                 if line[0] == "#" or line.strip() in unused]
    with open(ALLOW, "w") as f:
        f.writelines(lines)


def main():
    args = sys.argv[1:]
    paths = [a for a in args if a != "--shrink"]
    defined, used = symbols(paths)
    unused = {n: w for n, w in defined.items()
              if n != "main" and not used.get(n, set()) - {w}
              and not n.startswith("__")}
    if "--shrink" in args:
        shrink(unused)
    bad = 0
    for name in sorted(set(unused) - set(allowed())):
        print("%s: %s is used by no other file of the program" % (
            re.sub(r".*[:/]", "", unused[name]), name))
        bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())
