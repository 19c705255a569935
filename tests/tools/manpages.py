#!/usr/bin/env python3
"""manpages.py MTA DIR - write a manual page for each command into DIR.

What a page says is in two places already: the table of commands (`mta help
COMMAND`) and the entry of the command in docs/mta.1.  check_generated.sh
compares the pages with those in docs/man."""

import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
NO_PAGE = {"help", "version"}
NAMES = {"queue": "mailq", "serve": "smtpd"}  # links, made by make install
TOKEN = re.compile(r"\[|\]|\||,|\.\.\.|[^\s\[\]|,]+")


def run(mta, *args):
    return subprocess.run([mta, *args], check=True,
                          stdout=subprocess.PIPE).stdout.decode()


def commands(mta):
    """Names and their one line of help."""
    found = re.findall(r"^  ([a-z]+) +(.+)$", run(mta, "help"), re.M)
    return [(name, line) for name, line in found if name not in NO_PAGE]


def helped(mta, name):
    """The arguments, and what stands below the line of help."""
    text = run(mta, "help", name)
    usage, _, more = text.partition("\n\n")
    lines = usage.split("\n")
    args = " ".join(lines[:-1]).split("mta " + name, 1)[1]
    return args.strip(), more.rstrip("\n")


def entries_of(page):
    """Of mta.1: the entries of the list of commands, heading and lines."""
    found, depth = [], 0
    inside = False
    for line in page.split("\n"):
        if line.startswith(".Bl"):
            depth += 1
            inside = inside or depth == 1
            if depth == 1:
                continue
        if line.startswith(".El"):
            depth -= 1
            if depth == 0:
                return found
        if depth == 1 and line.startswith(".It Ic "):
            found.append((line[len(".It "):], []))
        elif found and depth >= 1:
            found[-1][1].append(line)
    return found


def synopsis(args):
    lines = []
    for token in TOKEN.findall(args):
        if token == "[":
            lines.append(".Oo")
        elif token == "]":
            lines.append(".Oc")
        elif token in ("|", "...", ","):
            if lines and not lines[-1].startswith((".Oo", ".Oc")):
                lines[-1] += " " + token
            else:
                lines.append(token if token != "..." else "\\&...")
        elif token == "--":
            lines.append(".Fl Fl")
        elif token.startswith("--"):
            lines.append(".Fl Fl " + token[2:])
        elif token.startswith("-") and len(token) > 1:
            lines.append(".Fl " + token[1:])
        elif token.upper() == token:
            lines.append(".Ar " + token)
        else:
            lines.append(".Cm " + token)
    return lines


def literal(text):
    """Lines as they are, for a display."""
    out = []
    for line in text.split("\n"):
        line = line.replace("\\", "\\e").replace("-", "\\-")
        out.append("\\&" + line if line[:1] in (".", "'") else line)
    return out


def description(name, page):
    mine = [(head, body) for head, body in entries_of(page)
            if re.match(r"Ic %s\b" % name, head)]
    if not mine:
        raise SystemExit("docs/mta.1 has no entry of the command %s" % name)
    if len(mine) == 1 and not re.match(r"Ic %s (keygen|record|[a-z]+ [a-z])"
                                       % name, mine[0][0]):
        return mine[0][1]
    lines = [".Bl -tag -width Ds"]
    for head, body in mine:
        lines += [".It " + head, *body]
    return lines + [".El"]


def names(name):
    if name not in NAMES:
        return [".Nm mta-" + name]
    return [".Nm mta-%s ," % name, ".Nm " + NAMES[name]]


def text_of(mta, name, line, page):
    args, more = helped(mta, name)
    date = re.search(r"^\.Dd .*$", page, re.M).group(0)
    lines = ['.\\" made by tests/tools/manpages.py: change docs/mta.1 or the '
             'table of commands', date, ".Dt MTA-%s 1" % name.upper(), ".Os",
             ".Sh NAME", *names(name), ".Nd " + line, ".Sh SYNOPSIS",
             ".Nm mta %s" % name, *synopsis(args), ".Sh DESCRIPTION",
             *description(name, page)]
    if more:
        lines += [".Sh OPTIONS", "In short, as",
                  ".Ql mta help %s" % name, "prints it:",
                  ".Bd -literal", *literal(more), ".Ed"]
    lines += [".Pp", "Flags of all commands, signals, environment, files and "
              "the meaning of the exit", "status are in", ".Xr mta 1 .",
              ".Sh SEE ALSO", ".Xr mta 1 ,",
              ".Xr mta-spool 5 ,", ".Xr mta.conf 5"]
    return "\n".join(lines) + "\n"


def main(mta, to):
    with open(os.path.join(ROOT, "docs", "mta.1"), encoding="utf-8") as f:
        page = f.read()
    for name, line in commands(mta):
        with open(os.path.join(to, "mta-%s.1" % name), "w",
                  encoding="utf-8") as f:
            f.write(text_of(mta, name, line, page))


if __name__ == "__main__":
    main(*sys.argv[1:])
