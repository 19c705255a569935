"""`mailq` in a pipe: the form of Postfix, which programs parse."""

import os
import pty
import re
import subprocess

import pytest

from harness import DEADLINE, MTA, until
from peer import Peer

HEAD = ("----Queue ID----- --Size-- ---Arrival Time---- "
        "--Sender/Recipient------")
FIRST = re.compile(r"^([0-9a-z]{16})([ !]) +(\d+) "
                   r"(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d) (.+)$")
REST = re.compile(r"^ {47}(\S+)$")
REASON = re.compile(r"^ *\((.*)\)$")


def mailq(m, *args, name="mailq"):
    done = subprocess.run([name, "-c", m.conf, *args], executable=MTA,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=DEADLINE)
    assert done.returncode == 0, done
    return done.stdout.decode()


def parse(text):
    """Entries as (id, flag, size, sender, reasons, recipients)."""
    lines = text.split("\n")
    assert lines.pop() == "" and lines.pop(0) == HEAD
    last, entries = lines.pop(), []
    for line in lines:
        if line == "":
            entries.append(None)
        elif FIRST.match(line):
            assert not entries or entries.pop() is None
            id, flag, size, _, sender = FIRST.match(line).groups()
            entries.append((id, flag, int(size), sender, [], []))
        elif REST.match(line):
            entries[-1][5].append(REST.match(line).group(1))
        else:
            entries[-1][4].append(REASON.match(line).group(1))
    assert entries.pop() is None
    return [e for e in entries if e], last


def send(m, *to, sender="a@here.test", body="x"):
    with m.smtp() as s:
        s.sendmail(sender, to, "Subject: x\r\n\r\n%s\r\n" % body)


def test_empty(mta):
    m = mta("serve")
    assert mailq(m) == "Mail queue is empty\n"
    assert mailq(m, name="/usr/bin/mailq") == "Mail queue is empty\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_who_may_look(mta):
    m = mta("serve")
    os.chmod(m.dir, 0o755)
    os.chmod(m.conf, 0o644)
    done = subprocess.run(["mailq", "-c", m.conf], executable=MTA, user="nobody",
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 77 and not done.stdout
    assert b"this is for root and for the user root" in done.stderr


def test_no_queue(mta):
    """Not an empty one: the path may be mistyped."""
    m = mta("serve", start=False)
    done = subprocess.run(["mailq", "-c", m.conf], executable=MTA,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 72 and not done.stdout
    assert b"no queue in" in done.stderr


def test_one(mta):
    m = mta("serve")
    send(m, "joe@elsewhere.test", body="y" * 3000)
    (q,) = m.queued()
    entries, last = parse(mailq(m))
    assert entries == [(q["id"], " ", q["size"], "a@here.test", [],
                        ["joe@elsewhere.test"])]
    assert last == "-- 3 Kbytes in 1 Request."


def test_several_with_reasons(mta):
    """Of each message what waits, and why, once for equal reasons."""
    m = mta()
    send(m, "joe@elsewhere.test", "ann@elsewhere.test", "bob@here.test")
    send(m, "joe@elsewhere.test", sender="")
    until("tried", lambda: all(r["reply"] for q in m.queued()
                               for r in q["recipients"]) and
          len(m.queued()) == 2)
    entries, last = parse(mailq(m))
    assert last == "-- 0 Kbytes in 2 Requests."
    by_sender = {e[3]: e for e in entries}
    assert set(by_sender) == {"a@here.test", "MAILER-DAEMON"}
    first = by_sender["a@here.test"]
    assert first[5] == ["joe@elsewhere.test", "ann@elsewhere.test"]
    assert len(first[4]) == 1 and "refused" in first[4][0]
    assert "bob@here.test" not in mailq(m)


def test_by_other_names(mta):
    m = mta("serve")
    for name in "sendmail", "/usr/sbin/sendmail":
        done = subprocess.run([name, "-C", m.conf, "-bp"], executable=MTA,
                              stdout=subprocess.PIPE)
        assert done.stdout == b"Mail queue is empty\n"
    assert m.tool("queue", "list").stdout == b"The queue is empty.\n"
    assert mailq(m, "--json") == ""
    assert mailq(m, "list") == "The queue is empty.\n"


def test_on_a_terminal(mta):
    """A person gets the list of `mta queue list`."""
    m = mta("serve")
    ours, theirs = pty.openpty()
    p = subprocess.Popen(["mailq", "-c", m.conf], executable=MTA,
                         stdin=subprocess.DEVNULL, stdout=theirs)
    os.close(theirs)
    said = b""
    try:
        while b"\n" not in said:
            said += os.read(ours, 4096)
    finally:
        assert p.wait(DEADLINE) == 0
        os.close(ours)
    assert said == b"The queue is empty.\r\n"


@pytest.mark.parametrize("text", ["\x1b[31mred", "two\tblanks\rback"])
def test_replies_cannot_write_to_the_terminal(mta, text):
    """What a peer said has one line, and no control characters."""
    with Peer(answers={"RCPT": "451 4.7.1 " + text}) as peer:
        m = mta("run", {"send.routes": ["elsewhere.test=127.0.0.1:%d" %
                                        peer.port]})
        send(m, "joe@elsewhere.test")
        until("tried", lambda: any(r["reply"] for q in m.queued()
                                   for r in q["recipients"]))
        said = mailq(m)
    assert "\x1b" not in said and "\r" not in said and "\t" not in said
    assert parse(said)[0][0][4], said
