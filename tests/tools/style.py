#!/usr/bin/python3
"""Refuse what the house style refuses: upward includes, banned names,
third-party headers outside their file, over-long functions and files,
comments about people; and a README that does not name every folder.

usage: style.py [ROOT]    one line a fault, exit status 1 if any
       style.py --shrink  take from people.allow what is mended
       style.py --ladder  the steps that includes go down, for dot(1)"""

import os
import re
import sys

# A folder may include its own headers and those of the folders named here.
# Steps from the bottom; a folder never includes one of its own step.
STEPS = [
    ["base"],
    ["log", "config"],
    ["net", "fsm"],
    ["smtp", "dns"],
    ["spool", "mail"],
    ["mailbox"],
    ["queue", "policy", "control", "recipient", "signer"],
    ["serve", "deliver", "send"],
    ["cli"],
]
LADDER = {}
BELOW = []
for step in STEPS:
    for name in step:
        LADDER[name] = list(BELOW)
    BELOW += step
LADDER["log"].append("config")

# Third-party headers and the one folder/file that may include each.
FOREIGN = {
    "libconfig.h": "src/config/",
    "idn2.h": "src/base/idn.c",
    "resolv.h": "src/dns/",
    "arpa/nameser.h": "src/dns/",
    "arpa/nameser_compat.h": "src/dns/",
    "openssl/": ("src/net/tls", "include/net/tls", "src/base/digest",
                 "include/base/digest"),
}

BANNED = ["strcpy", "strcat", "sprintf", "vsprintf", "strtok", "gets",
          "alloca", "realloc", "reallocarray", "strndup", "clone", "vfork",
          "posix_spawn", "posix_spawnp", "popen", "system", "sendfile",
          "splice", "sleep", "usleep"]
# The two that stay out of daemons' code but may end a process or print.
CLI_ONLY = ["exit", "perror"]

FUNCTION_MAX, FILE_MAX, HEADER_MAX, LINE_MAX, PARAMS_MAX = 60, 700, 140, 80, 6

# What a comment is about is a noun of the code: client, worker, segment.
PEOPLE = re.compile(r"\b(who|whoever|whom|somebody|nobody)\b", re.I)
# Lines "N PATH": so many are left there; the numbers only fall.
PEOPLE_ALLOW = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                            "people.allow")

faults = []


def fault(path, line, text):
    faults.append("%s:%d: %s" % (path, line, text))


COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def strip_comments(text):
    """Blank out comments and strings, keeping the line structure."""
    def blank(m):
        s = m.group(0)
        if s.startswith("/"):
            return re.sub(r"[^\n]", " ", s)
        return s[0] + "_" * (len(s) - 2) + s[0]
    return COMMENT_OR_STRING.sub(blank, text)


def people(text):
    """(line, word) of each comment that is about people."""
    for comment in COMMENT_OR_STRING.finditer(text):
        if comment.group(0).startswith("/"):
            for m in PEOPLE.finditer(comment.group(0)):
                at = comment.start() + m.start()
                yield text.count("\n", 0, at) + 1, m.group(0)


def people_allowed():
    with open(PEOPLE_ALLOW, encoding="utf-8") as f:
        return {path: int(n) for n, path in (line.split() for line in f)}


def check_people(path, text):
    found = list(people(text))
    if len(found) > people_allowed().get(path, 0):
        for line, word in found:
            fault(path, line, 'a comment says "%s": name the client, worker, '
                  "segment it is about" % word)


def shrink_people():
    left = {}
    for path, allowed in people_allowed().items():
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                left[path] = min(allowed, len(list(people(f.read()))))
    with open(PEOPLE_ALLOW, "w", encoding="utf-8") as f:
        f.writelines("%d %s\n" % (n, path)
                     for path, n in sorted(left.items()) if n)


def check_includes(path, lines):
    parts = path.split("/")
    folder = parts[1] if parts[0] in ("src", "include") else None
    for n, line in enumerate(lines, 1):
        m = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not m:
            continue
        kind, name = m.groups()
        for foreign, home in FOREIGN.items():
            if name.startswith(foreign) and not path.startswith(home):
                fault(path, n, "%s may be included only in %s" % (name, home))
        target = name.split("/")[0]
        if kind != '"' or folder is None or target not in LADDER:
            continue
        if target != folder and target not in LADDER[folder]:
            fault(path, n, "include points up the ladder: %s -> %s"
                  % (folder, name))


def check_names(path, code):
    in_cli = path.startswith("src/cli/") or path == "mta.c"
    names = BANNED + ([] if in_cli else CLI_ONLY)
    pattern = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(names))
    for n, line in enumerate(code, 1):
        for m in pattern.finditer(line):
            if not line.lstrip().startswith("#pragma"):
                fault(path, n, "banned name: %s" % m.group(1))


def functions(code):
    """(name, first line, last line, parameter text) of each definition."""
    n = 0
    while n < len(code):
        if code[n] == "{" and n > 0 and code[n - 1].rstrip().endswith(")"):
            first = n - 1
            while first > 0 and code[first - 1].strip() and \
                    not code[first - 1].rstrip().endswith((";", "}", "*/")) \
                    and not code[first - 1].startswith("#"):
                first -= 1
            head = " ".join(code[first:n])
            last = n
            while last < len(code) and code[last] != "}":
                last += 1
            m = re.search(r"(\w+)\s*\((.*)\)\s*$", head)
            yield (m.group(1) if m else "?", first + 1, last + 1,
                   m.group(2) if m else "")
            n = last
        n += 1


def check_sizes(path, text, code):
    table = "clang-format off" in text
    limit = HEADER_MAX if path.endswith(".h") else FILE_MAX
    if len(code) > limit:
        fault(path, 1, "%d lines; at most %d" % (len(code), limit))
    for name, first, last, params in functions(code):
        if last - first + 1 > FUNCTION_MAX:
            fault(path, first, "function %s has %d lines; at most %d"
                  % (name, last - first + 1, FUNCTION_MAX))
        depth = count = 0
        for c in params:
            depth += c == "("
            depth -= c == ")"
            count += c == "," and depth == 0
        if count + 1 > PARAMS_MAX:
            fault(path, first, "function %s has %d parameters"
                  % (name, count + 1))
    if not table:
        for n, line in enumerate(text.split("\n"), 1):
            if len(line) > LINE_MAX:
                fault(path, n, "line of %d columns" % len(line))
            if line != line.rstrip():
                fault(path, n, "blanks at the end of the line")


def check_guard(path, text):
    want = "MTA_" + re.sub(r"\W", "_", path[len("include/"):]).upper()
    if "#ifndef %s\n#define %s\n" % (want, want) not in text:
        fault(path, 1, "the guard should be %s" % want)


def check(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        text = f.read()
    code = strip_comments(text).split("\n")
    check_includes(path, text.split("\n"))
    if path != "include/base/banned.h":
        check_names(path, code)
    check_sizes(path, text, code)
    check_people(path, text)
    if path.endswith(".h"):
        check_guard(path, text)


def check_readme(root):
    """It names every folder of src and tests and every page, and nothing that
    is not there."""
    path = os.path.join(root, "README.md")
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as f:
        text = f.read()
    for top in ("src", "tests", "docs"):
        for name in sorted(os.listdir(os.path.join(root, top))):
            path = os.path.join(top, name)
            folder = os.path.isdir(os.path.join(root, path))
            want = "`%s/`" % path if folder else "(%s)" % path
            if want not in text and (folder or top == "docs") and \
                    not name.startswith((".", "_")):
                fault("README.md", 1, "%s is not named" % path)
    for m in re.finditer(r"\]\(([^)]+)\)|`((?:src|tests|docs)/[^`]*)`", text):
        if not os.path.exists(os.path.join(root, m.group(1) or m.group(2))):
            fault("README.md", text.count("\n", 0, m.start()) + 1,
                  "no such file: %s" % (m.group(1) or m.group(2)))


def ladder():
    """The folders that there are, a step on one rank, and what they stand
    on."""
    steps = [["mta.c"]] + [[f for f in step if os.path.isdir("src/" + f)]
                           for step in reversed(STEPS)]
    print("digraph ladder {\n  ranksep=0.2; nodesep=0.3;\n"
          "  node [shape=box, style=rounded, fontname=Helvetica, fontsize=11,"
          " width=1];\n  edge [arrowsize=0.6];")
    for step in steps:
        print('  { rank=same; "%s"; }' % '"; "'.join(step))
        for a in step:
            for b in set(LADDER.get(a, [])) & set(step):
                print("  %s -> %s;" % (a, b))
    for upper, lower in zip(steps, steps[1:]):
        for a in upper:
            for b in lower:
                print('  "%s" -> "%s";' % (a, b))
    print('  "libc, libconfig, libresolv, libidn2, OpenSSL" '
          '[shape=plaintext];\n'
          '  base -> "libc, libconfig, libresolv, libidn2, OpenSSL";\n}')


def main():
    if sys.argv[1:] == ["--ladder"]:
        return ladder()
    if sys.argv[1:] == ["--shrink"]:
        return shrink_people()
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    paths = ["mta.c"]
    for top in ("src", "include"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            paths += [os.path.relpath(os.path.join(folder, n), root)
                      for n in names if n.endswith((".c", ".h"))]
    for path in sorted(paths):
        check(root, path)
    check_readme(root)
    for line in faults:
        print(line)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
