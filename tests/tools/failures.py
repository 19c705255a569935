#!/usr/bin/python3
"""failures.py PART LOG - what failed in a part of `make tests`, in few lines:
the name of each test, its assertion, and the end of what its server had to
say.  Of pytest, Check, and all others, of which the last lines are shown."""

import re
import sys

TESTS, LINES, WIDTH, REST = 12, 25, 160, 40
HEAD = re.compile(r"_{3,} (.+?) _{3,}$")
SECTION = re.compile(r"-{5,} (Captured .*?) -{5,}$")
CHECK = re.compile(r"\.c:\d+:[FE]:|^-- \S+: status")
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error:|SUMMARY: |"
                       r"==\d+== *(Invalid|Conditional|Syscall|\d|at 0x|by 0x)")


def show(lines, mark="    "):
    for line in lines:
        print((mark + line)[:WIDTH])


def of_pytest(lines):
    """[(name, assertion, what was captured)]"""
    found, part = [], None
    for line in lines:
        head, section = HEAD.match(line), SECTION.match(line)
        if head:
            found.append((head[1], [], []))
            part = "traceback"
        elif section:
            part = section[1]
        elif re.match(r"=+ (short test summary|.* in \d)", line):
            part = None
        elif found and part == "traceback":
            if line.startswith("E ") or re.match(r"\S+\.py:\d+: ", line):
                found[-1][1].append(line)
        elif found and part:
            found[-1][2].append(line)
    return found


def summary_of_pytest(lines):
    return [x for x in lines if re.match(r"(FAILED|ERROR) \S+", x)]


def tell_pytest(lines):
    found = of_pytest(lines)
    for name, why, said in found[:TESTS]:
        print("  %s" % name)
        show(why[:8] + (["..."] + why[-4:] if len(why) > 12 else why[8:]))
        show(said[-LINES:], "    | ")
    if found[TESTS:]:
        print("  and %d more:" % len(found[TESTS:]))
    show(summary_of_pytest(lines), "  ")


def main():
    part, log = sys.argv[1:]
    with open(log, errors="replace") as f:
        lines = f.read().splitlines()
    print("-- %s" % part)
    if summary_of_pytest(lines):
        tell_pytest(lines)
    elif any(map(CHECK.search, lines)):
        show([x for x in lines if CHECK.search(x) or SANITIZER.search(x)][
            :TESTS * 4], "  ")
    else:
        show(lines[-REST:], "  ")


if __name__ == "__main__":
    main()
