"""What tests of `mta check` share: its findings as dicts."""

import json
import os
import subprocess

from harness import MTA


def check(m, name=None, address="192.0.2.1", **kwargs):
    """The findings of one check, and the exit status."""
    args = ["--address", address] if address else []
    done = m.tool("check", "--json", *args, check=False, **kwargs)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found, done.stderr
    worst = max(["ok", "warning", "fault"].index(f["state"]) for f in found)
    assert done.returncode == worst, found
    for f in found:
        assert set(f) == {"check", "state", "what", "fix"}
        assert (f["fix"] is None) == (f["state"] == "ok"), f
    return [f for f in found if name is None or f["check"] == name]


def one(m, name, **kwargs):
    [found] = check(m, name, **kwargs)
    return found["state"], found["what"]


def reachable(path):
    """Let other users find a file of the test's; what it lets them do there
    is its own."""
    for d in path.parents:
        if d.stat().st_uid == os.geteuid():
            os.chmod(d, d.stat().st_mode | 0o011)
    return str(path)


def as_nobody(m):
    """The findings that another user gets."""
    os.chmod(m.dir, 0o755)
    os.chmod(m.conf, 0o644)
    done = subprocess.run([MTA, "check", "--json", "-c", m.conf],
                          stdout=subprocess.PIPE, user=65534, timeout=120)
    return [json.loads(line) for line in done.stdout.splitlines()]
