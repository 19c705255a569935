#!/usr/bin/python3
"""Compare the events in the sources with the table in docs/log.md: every
name in one must be in the other and in src/log/events.c, and every field that
is logged must be in the row of its event.

usage: check_events.py [ROOT]; prints one line a fault, exit status 1 if any."""

import os
import re
import sys

CALL = re.compile(r"\b(LOG|SAY|log_err|log_event|tell_stderr)\s*\(")
NAME = re.compile(r'"([a-z]+\.[a-z_.]+)"')
FIELD = re.compile(r'\bL[SBN]\(\s*"([^"]+)"')
# | `name` | level | `field` `field` ... | meaning |
ROW = re.compile(r"^\|\s*`([a-z]+\.[a-z_.]+)`\s*\|[^|]*\|([^|]*)\|[^|]*\|\s*$")


def calls(text):
    """The text of each call of CALL, from its name to the closing bracket."""
    for m in CALL.finditer(text):
        depth, i, quoted = 0, m.end() - 1, False
        while i < len(text):
            c = text[i]
            if quoted:
                i += c == "\\"
                quoted = c != '"'
            elif c == '"':
                quoted = True
            else:
                depth += (c == "(") - (c == ")")
                if depth == 0:
                    break
            i += 1
        yield m.group(1), m.start(), text[m.start():i]


def read_sources(root):
    """{event: {field: where}} of all files below src/."""
    found = {}
    with open(os.path.join(root, "src/config/table.c"),
              encoding="utf-8") as f:
        settings = set(NAME.findall(f.read()))
    for folder, _, names in os.walk(os.path.join(root, "src")):
        for name in sorted(names):
            if not name.endswith(".c") or name == "events.c":
                continue
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as f:
                text = re.sub(r"/\*.*?\*/", lambda m: re.sub(
                    r"[^\n]", " ", m.group(0)), f.read(), flags=re.S)
            for kind, at, call in calls(text):
                where = "%s:%d" % (os.path.relpath(path, root),
                                   text.count("\n", 0, at) + 1)
                fields = {k: where for k in FIELD.findall(call)}
                if kind == "log_err":
                    fields["error"] = where
                for event in NAME.findall(call):
                    found.setdefault(event, {"": where}).update(fields)
            # A name that reaches its call through a variable.  Settings
            # have such names, and so have the files of the log.
            part = os.path.relpath(path, root).split(os.sep)[1]
            pattern = r'struct log_event \w+ = \{[^}]*' \
                if part == "log" else r'"(?:serve|send|queue|deliver)\.[a-z_]+"'
            for m in re.finditer(pattern, "" if part in ("config", "cli")
                                 else text):
                where = "%s:%d" % (os.path.relpath(path, root),
                                   text.count("\n", 0, m.start()) + 1)
                for event in set(NAME.findall(m.group(0))) - settings:
                    found.setdefault(event, {"": where})
    return found


def read_table(path):
    rows = {}
    with open(path, encoding="utf-8") as f:
        for n, line in enumerate(f, 1):
            m = ROW.match(line)
            if m:
                rows[m.group(1)] = (n, set(re.findall(r"`([^`]+)`",
                                                      m.group(2))))
    return rows


def check_names(root, table):
    """`mta log --event` knows the same names, in a table of its own."""
    path = "src/log/events.c"
    with open(os.path.join(root, path), encoding="utf-8") as f:
        names = set(re.findall(r'^    "([a-z]+\.[a-z_.]+)",$', f.read(), re.M))
    return (["%s: add event %s, which docs/log.md has" % (path, e)
             for e in set(table) - names] +
            ["%s: event %s is not in docs/log.md" % (path, e)
             for e in names - set(table)])


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    used = read_sources(root)
    table = read_table(os.path.join(root, "docs/log.md"))
    faults = []
    for event, fields in used.items():
        if event not in table:
            faults.append("%s: event %s is not in docs/log.md"
                          % (fields[""], event))
            continue
        for field, where in fields.items():
            if field and field not in table[event][1]:
                faults.append("%s: field %s of %s is not in docs/log.md"
                              % (where, field, event))
    for event, (line, _) in table.items():
        if event not in used:
            faults.append("docs/log.md:%d: event %s is logged nowhere"
                          % (line, event))
    faults += check_names(root, table)
    if not used:
        faults.append("no event found: is this the right directory?")
    for fault in sorted(faults):
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
