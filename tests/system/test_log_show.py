"""`mta log` as a reader: filters, rotated files, and the path of a message."""

import gzip
import os
import re
import subprocess

import pytest

from dnsserver import DnsServer
from harness import MTA, until
from peer import Peer


@pytest.fixture(scope="module")
def dns():
    with DnsServer({"x.test": "@ MX 10 mx\nmx A 127.0.0.1"}) as d:
        yield d


def look(m, *args, check=True):
    return m.tool("log", *args, check=check).stdout.decode()


@pytest.fixture
def carried(mta, dns):
    """A system that has delivered one message: to a mailbox, and by an alias
    to another host."""
    with Peer("127.0.0.1") as p:
        m = mta(settings={"dns.servers": [dns.address], "send.port": p.port},
                start=False)
        aliases = os.path.join(m.dir, "aliases")
        with open(aliases, "w") as f:
            f.write("team: ann, bob@x.test\n")
        m.settings["local.aliases"] = aliases
        m.write_conf()
        m.start()
        with m.smtp() as s:
            s.sendmail("a@src.test", ["team@here.test"],
                       b"Subject: x\r\n\r\nhi\r\n")
        until("delivered", lambda: m.events("send.delivered"))
        until("delivered here", lambda: m.deliveries())
        until("its session is over", lambda: m.events("send.disconnect"))
        yield m


def test_path_of_a_message(carried):
    [accepted] = carried.events("serve.accepted")
    shown = look(carried, "--id", accepted["id"])
    lines = shown.splitlines()
    assert lines[:2] == ["message " + accepted["id"], "received"], shown
    # in this order: the client's session, the expansion, the two children
    order = ["serve.connect", "serve.accepted", "serve.disconnect", "part 0",
             "deliver.expanded"]
    at = [next(i for i, l in enumerate(lines) if w in l) for w in order]
    assert at == sorted(at), shown
    heads = [l for l in lines if l.startswith("part")]
    assert heads[0] == "part 0, as it was accepted"
    assert heads[1] == "part 1, made of part 0, in the queue local"
    assert re.match(r"part \d+, made of part 1, in the queue remote$",
                    heads[2]), heads
    assert len(heads) == 3
    remote = shown[shown.index("queue remote"):]
    for event in ("send.connect", "send.delivered", "send.disconnect"):
        assert event in remote, shown
    assert " to=bob@x.test " in remote
    assert shown.count("serve.connect") == 1
    # another session of the same server is no part of it
    with carried.smtp():
        pass
    assert look(carried, "--id", accepted["id"]) == shown
    raw = look(carried, "--id", accepted["id"], "--raw")
    assert all(" id=" + accepted["id"] in l for l in raw.splitlines())
    none = carried.tool("log", "--id", "nothere", check=False)
    assert none.returncode == 66
    assert b"no line of message nothere in " in none.stderr


def test_filters(carried):
    [sent] = carried.events("send.delivered")
    lines = look(carried, "--address", "BOB@x.test").splitlines()
    assert lines and all("bob@x.test" in l for l in lines)
    assert " serve.accepted " in look(carried, "--address", "a@src.test")
    assert " serve.connect " in look(carried, "--address", "127.0.0.1")
    lines = look(carried, "--event", "send.connect").splitlines()
    assert len(lines) == 1 and " send.connect " in lines[0]
    lines = look(carried, "--event", "deliver").splitlines()
    assert lines and all(" deliver." in l for l in lines)
    lines = look(carried, "--sid", sent["sid"]).splitlines()
    assert all(" sid=" + sent["sid"] in l for l in lines)
    assert len(lines) == 3
    assert look(carried, "--sid", sent["sid"], "--event",
                "send.delivered").count("\n") == 1
    bad = carried.tool("log", "--event", "send.deliverd", check=False)
    assert bad.returncode == 64
    assert b"did you mean 'send.delivered'?" in bad.stderr


def test_times(carried):
    [sent] = carried.events("send.delivered")
    assert sent["time"] in look(carried, "--since", sent["time"])
    assert look(carried, "--until", sent["time"]).splitlines()[-1].startswith(
        sent["time"])
    assert sent["time"] in look(carried, "--since", "1h")
    assert look(carried, "--until", "1h") == ""
    for args in (["--since", "soon"], ["-f", "--until", "1h"]):
        bad = carried.tool("log", *args, check=False)
        assert bad.returncode == 64
    assert b"2026-01-31T10:00:00Z" in carried.tool(
        "log", "--since", "soon", check=False).stderr


def test_rotated_files(carried):
    [accepted] = carried.events("serve.accepted")
    carried.stop()
    whole = look(carried, "--id", accepted["id"])
    with open(carried.log) as f:
        lines = f.readlines()
    half = len(lines) // 2
    with open(carried.log + ".1", "w") as f:
        f.writelines(lines[:half])
    with open(carried.log, "w") as f:
        f.writelines(lines[half:])
    assert look(carried, "--id", accepted["id"]) == whole
    with gzip.open(carried.log + ".2.gz", "wb") as f:
        f.write("".join(lines).encode())
    done = carried.tool("log", "--id", accepted["id"])
    assert done.stdout.decode() == whole
    assert done.stderr.decode().count(carried.log + ".2.gz is compressed") == 1
    # ... and the way that it names
    with gzip.open(carried.log + ".2.gz") as f:
        piped = subprocess.run([MTA, "log", "--log-file", "/dev/stdin",
                                "--event", "serve.accepted"], input=f.read(),
                               stdout=subprocess.PIPE, timeout=60)
    assert accepted["id"] in piped.stdout.decode()


def test_follow_a_filter(carried):
    with open(os.path.join(carried.dir, "followed"), "wb+") as out:
        follower = subprocess.Popen(
            [MTA, "log", "-f", "--event", "serve.accepted", "-c",
             carried.conf], stdout=out)
        try:
            def seen():
                out.seek(0)
                return out.read().decode().splitlines()
            until("what there was", lambda: len(seen()) == 1)
            with carried.smtp() as s:
                s.sendmail("a@src.test", ["ann@here.test"], b"x\r\n")
            until("what comes", lambda: len(seen()) == 2)
            assert all(" serve.accepted " in l for l in seen())
        finally:
            follower.kill()
            follower.wait()


def test_json_log(mta):
    m = mta(settings={"log.format": "json"})
    with m.smtp() as s:
        s.sendmail("a@src.test", ["ann@here.test"], b"x\r\n")
    until("delivered", lambda: '"deliver.delivered"' in open(m.log).read())
    [line] = look(m, "--event", "serve.accepted").splitlines()
    mid = re.search(r'"id":"([^"]+)"', line).group(1)
    shown = look(m, "--id", mid)
    assert " deliver.delivered " in shown and " to=ann@here.test" in shown
