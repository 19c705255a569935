"""The settings of an mta to be measured, under the names that it has for them.

Two builds of different age may name a setting differently.  A build lists
its own names with `mta config --dump`; NAMES holds those of older builds.
"""

import re
import subprocess

# What a setting is called now: what older builds called it.
NAMES = {
    "local.domains": "serve.local_domains",
    "local.mail_dir": "serve.mail_dir",
    "local.mailbox": "serve.mailbox",
    "local.users": "serve.users",
    "local.aliases": "serve.aliases",
}


def keys_of(dump):
    """The names in a sample file, as "group.key"."""
    found, groups = set(), []
    for line in dump.splitlines():
        opens = re.match(r"\s*(\w+)\s*[:=]\s*\{$", line)
        sets = re.match(r"\s*#?(\w+) = .*;$", line)
        if opens:
            groups.append(opens.group(1))
        elif re.match(r"\s*\};?$", line):
            groups.pop()
        elif sets:
            found.add(".".join(groups + [sets.group(1)]))
    return found


def known(binary):
    return keys_of(subprocess.run(
        [binary, "config", "--dump"], check=True, text=True,
        stdout=subprocess.PIPE).stdout)


def name_of(key, keys):
    for name in (key, NAMES.get(key)):
        if name in keys:
            return name
    raise ValueError("this mta has no setting %s" % key)


def value_of(value):
    if isinstance(value, (list, tuple)):
        return "[ %s ]" % ", ".join(value_of(v) for v in value)
    return str(value) if isinstance(value, int) else '"%s"' % value


def text_of(wanted, keys):
    """A configuration file.  wanted: values by today's names; keys: those
    that the build knows."""
    groups = {}
    for key, value in wanted.items():
        group, _, name = name_of(key, keys).rpartition(".")
        groups.setdefault(group, []).append(
            "%s = %s;" % (name, value_of(value)))
    return "\n".join(groups.pop("", []) + [
        "%s = { %s };" % (group, " ".join(lines))
        for group, lines in groups.items()]) + "\n"
