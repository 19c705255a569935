"""The server only appends to the queues: what it needs others for delays
nobody but the client who asked."""

import json
import os
import signal
import time

from harness import DEADLINE, until
from processes import by_role

PASSWD = {"local.users": "passwd"}


def pids(m, role):
    return by_role(m.process.pid).get(role, [])


def stop_all(role_pids, signo=signal.SIGSTOP):
    for pid in role_pids:
        os.kill(pid, signo)


def helpers(m):
    """That of the worker and that of the delivery process."""
    def both():
        found = pids(m, "user helper")
        return found if len(found) == 2 else None
    return until("both helpers", both)


def in_queue(m):
    out = m.tool("queue", "list", "--json").stdout
    return [json.loads(line) for line in out.splitlines()]


def begin(c):
    assert c.say("EHLO client.test")[0] == 250
    assert c.say("MAIL FROM:<a@client.test>")[0] == 250


def test_local_mail_is_accepted_while_nothing_is_delivered(mta):
    m = mta("serve")
    until("it is there", lambda: pids(m, "deliver"))
    waiting = pids(m, "deliver")
    stop_all(waiting)
    with m.smtp() as c:
        c.sendmail("a@x.test", ["ann@here.test"], b"Subject: one\r\n\r\n")
        c.sendmail("a@x.test", ["u@far.test", "bob@here.test", "v@far.test"],
                   b"Subject: two\r\n\r\n")
        c.sendmail("a@x.test", ["u@far.test"], b"Subject: three\r\n\r\n")
    assert os.listdir(m.mail) == []
    found = [(q["queue"], [r["address"] for r in q["recipients"]])
             for q in in_queue(m)]
    assert sorted(found) == [
        ("local", ["ann@here.test"]),
        ("local", ["u@far.test", "bob@here.test", "v@far.test"]),
        ("remote", ["u@far.test"])]
    lines = m.events("serve.accepted")
    assert [(e["nrcpt"], e["local"], e["remote"]) for e in lines] == [
        ("1", "1", "0"), ("3", "1", "2"), ("1", "0", "1")]
    stop_all(waiting, signal.SIGCONT)
    m.copies("ann", 1)
    m.copies("bob", 1)


def test_a_silent_helper(mta):
    """The client whose user it was to look up is told to come again after 5 s;
    others are served meanwhile, and another helper takes its place."""
    m = mta("serve", dict(PASSWD, **{"serve.workers": 1}))
    stop_all(helpers(m))
    with m.raw() as waits, m.raw() as other:
        begin(waits)
        begin(other)
        began = time.monotonic()
        waits.send("RCPT TO:<nobody@here.test>\r\n")
        assert other.say("RCPT TO:<u@far.test>")[0] == 250
        assert other.say("DATA")[0] == 354
        other.send("Subject: x\r\n\r\n")
        assert other.say(".")[0] == 250
        assert time.monotonic() - began < 5
        code, words = waits.reply()
        assert (code, words[0][:5]) == (451, "4.3.0")
        assert 4 < time.monotonic() - began < 5 + DEADLINE
        until("another", lambda: waits.say(
            "RCPT TO:<nobody@here.test>")[0] == 250, 20)
    assert not m.events("serve.worker", state="died")


def test_a_helper_that_died(mta):
    m = mta("serve", dict(PASSWD, **{"serve.workers": 1}))
    helpers(m)
    with m.raw() as c:
        begin(c)
        assert c.say("RCPT TO:<root@here.test>")[0] == 250
        stop_all(helpers(m), signal.SIGKILL)
        assert c.say("RCPT TO:<nobody@here.test>")[0] == 250
        assert c.say("RCPT TO:<no.such.user@here.test>")[0] == 550
