"""`mta queue list`: filters, order, errors; with and without daemons."""

import json
import os
import signal
import threading

import pytest

from dnsserver import DnsServer
from harness import Clock, send_signal, until
from peer import Peer
from processes import by_role

EX_USAGE = 64
STATES = ("pending", "held", "delivered", "failed", "expanded", "deleted",
          "delivering")


@pytest.fixture
def queue(mta):
    """Mail that waits, of a server beside which no sender runs."""
    m = mta("serve")
    for sender, rcpts, size in [
            ("ann@a.test", ["u1@x.test", "u2@y.test"], 3000),
            ("bob@b.test", ["u3@Y.test"], 10),
            ("", ["u4@sub.x.test"], 500),
            ("Ann@A.test", ["u5@z.test"], 20)]:
        with m.smtp() as s:
            s.sendmail(sender, rcpts, b"Subject: x\r\n\r\n" + b"y" * size)
    until("all is there", lambda: len(m.queued()) == 4)
    return m


def shown(m, *args):
    out = m.tool("queue", "list", "--json", *args).stdout.decode()
    return [[r["address"] for r in json.loads(line)["recipients"]]
            for line in out.splitlines()]


def check_filters(m):
    assert sorted(shown(m, "--domain", "y.test")) == [["u2@y.test"],
                                                      ["u3@Y.test"]]
    assert shown(m, "--domain", ".x.test") == [["u4@sub.x.test"]]
    assert sorted(shown(m, "--sender", "ann@a.test")) == [
        ["u1@x.test", "u2@y.test"], ["u5@z.test"]]
    assert shown(m, "--sender", "@b.test") == [["u3@Y.test"]]
    assert shown(m, "--sender", "<bob@b.test>") == [["u3@Y.test"]]
    assert shown(m, "--sender", "<>") == [["u4@sub.x.test"]]
    assert shown(m, "--sender", "ann@a.test", "--domain", "x.test") == [
        ["u1@x.test"]]
    assert shown(m, "--sender", "bob@b.test", "--domain", "x.test") == []
    assert len(shown(m, "--state", "pending")) == 4
    for state in STATES[1:]:
        assert shown(m, "--state", state) == []
    assert shown(m, "--older", "1h") == []
    assert len(shown(m, "--older", "0s")) == 4
    assert shown(m, "--reply", "try later") == []


def test_filters(queue):
    check_filters(queue)
    text = queue.tool("queue", "list", "--domain", "y.test").stdout.decode()
    assert "u1@x.test" not in text and "u2@y.test" in text
    assert text.endswith("2 messages, %d octets.\n" % sum(
        q["size"] for q in queue.queued() if q["sender"] in (
            "ann@a.test", "bob@b.test")))
    none = queue.tool("queue", "list", "--domain", "w.test").stdout.decode()
    assert none == "No message in the queue is like that.\n"


def test_filters_without_daemons(queue):
    queue.stop()
    check_filters(queue)


@pytest.mark.parametrize("key, first", [
    ("arrival", ["u1@x.test", "u3@Y.test", "u4@sub.x.test", "u5@z.test"]),
    ("size", ["u1@x.test", "u4@sub.x.test", "u5@z.test", "u3@Y.test"]),
    ("sender", ["u4@sub.x.test", "u1@x.test", "u5@z.test", "u3@Y.test"]),
    ("domain", ["u4@sub.x.test", "u1@x.test", "u3@Y.test", "u5@z.test"]),
    ("next", ["u1@x.test", "u3@Y.test", "u4@sub.x.test", "u5@z.test"]),
    ("attempts", ["u1@x.test", "u3@Y.test", "u4@sub.x.test", "u5@z.test"]),
])
def test_order(queue, key, first):
    found = [r[0] for r in shown(queue, "--sort", key)]
    if key in ("next", "attempts"):  # all are equal: as in the queue
        assert found == [r[0] for r in shown(queue)]
    else:
        assert found == first
    text = queue.tool("queue", "list", "--sort", key).stdout.decode()
    assert [text.index(a) for a in found] == sorted(
        text.index(a) for a in found)


def test_order_of_attempts_and_replies(mta):
    """What was refused for now has its reply, and a next time."""
    with DnsServer({"x.test": "@ MX 10 mx\nmx A 127.0.0.1"}) as d, \
            Peer("127.0.0.1", answers={"RCPT": lambda s, line: (
                "451 4.7.1 Greylisted, come back" if "slow" in line else "452 4.2.2 mailbox full")}) as p:
        m = mta(settings={"dns.servers": [d.address], "send.port": p.port,
                          "send.retry_min": "1h", "send.retry_max": "1h"})
        for user in ("slow", "full"):
            with m.smtp() as s:
                s.sendmail("a@b.test", ["%s@x.test" % user],
                           b"Subject: x\r\n\r\n")
        until("both were tried", lambda: len(m.events("send.deferred")) == 2)
        assert shown(m, "--reply", "greyLISTED") == [["slow@x.test"]]
        assert shown(m, "--reply", "451 4.7.1") == [["slow@x.test"]]
        assert shown(m, "--reply", "452") == [["full@x.test"]]
        # greylisting waits for 5 minutes, the other for an hour
        assert shown(m, "--sort", "next") == [["slow@x.test"],
                                              ["full@x.test"]]


ANSWERS = {"good": "250 ok", "slow": "250 ok", "bad": "550 5.1.1 no"}


def by_name(_session, line):
    name = line.split("<")[1].split("@")[0]
    return ANSWERS.get(name, "451 4.2.1 not now")


def test_filter_by_each_state(mta, tmp_path):
    """Each has the recipients that are in it; ages by the clock of the
    command."""
    aliases = tmp_path / "aliases"
    aliases.write_text("list: wait@c.test\n")
    go = threading.Event()

    def dot(session, _text):
        if any("slow@" in r for r in session.rcpts):
            go.wait(120)
        return "250 ok"
    with Clock() as clock, Peer(answers={"RCPT": by_name, "DOT": dot}) as p:
        m = mta(settings={"send.relay_host": "[127.0.0.1]:%d" % p.port,
                          "send.retry_min": "1h", "send.retry_max": "1h",
                          "local.aliases": str(aliases)})
        try:
            for sender, rcpts in (
                    ("", ["good@a.test", "bad@b.test", "wait@c.test",
                          "held@d.test", "gone@e.test"]),
                    ("", ["list@here.test"]), ("x@y.test", ["slow@f.test"])):
                with m.smtp() as s:
                    s.sendmail(sender, rcpts, b"Subject: x\r\n\r\n")
                until("tried", lambda: m.queued() and not any(
                    r["state"] in ("pending", "delivering") and not r["status"]
                    for q in m.queued() if q["sender"] == ""
                    for r in q["recipients"]))
            m.tool("queue", "hold", "--domain", "d.test")
            m.tool("queue", "delete", "--domain", "e.test")
            until("slow", lambda: shown(m, "--state", "delivering"))
            found = {state: sorted(sum(shown(m, "--state", state), []))
                     for state in STATES}
            assert shown(m, "--older", "1h") == []
            clock.set(0.1)
            old = m.tool("queue", "list", "--json", "--older", "2h",
                         env=clock.env).stdout.splitlines()
            assert len(old) == len(m.queued())
            assert b"" == m.tool("queue", "list", "--json", "--older", "3h",
                                 env=clock.env).stdout
        finally:
            go.set()
    assert found == {"pending": ["wait@c.test", "wait@c.test"],
                     "held": ["held@d.test"], "delivered": ["good@a.test"],
                     "failed": ["bad@b.test"], "deleted": ["gone@e.test"],
                     "expanded": ["list@here.test"],
                     "delivering": ["slow@f.test"]}


@pytest.mark.parametrize("args, says", [
    (["--state", "foo"], "--state: 'foo' is none of pending, delivered, "
     "failed, expanded, held, deleted or delivering"),
    (["--sort", "foo"], "--sort: 'foo' is none of arrival, next, size, "
     "sender, domain or attempts"),
    (["--older", "soon"], "--older: 'soon' is not a time (write 30s, 5m, 4h "
     "or 5d)"),
    (["--domain", ""], "--domain: the text is empty"),
])
def test_bad_values(mta, args, says):
    m = mta(start=False)
    done = m.tool("queue", "list", *args, check=False)
    assert done.returncode == EX_USAGE
    assert done.stderr.decode() == "mta queue: %s\n" % says


def test_show_of_every_message(queue):
    """By its id each is found, with daemons and without."""
    for _ in range(2):
        for q in queue.queued():
            text = queue.tool("queue", "show", q["id"], "--json").stdout
            assert json.loads(text)["id"] == q["id"]
        if queue.process is not None:
            queue.stop()


# --- both queues -------------------------------------------------------------

TEXT = b"Subject: both\r\n\r\none text\r\n"


def both_queues(mta, hop):
    """A message whose one recipient waits in local/, in the hands of a mailbox
    process that stands still, and the other in remote/, with the host."""
    m = mta(settings={"send.relay_host": "[127.0.0.1]:%d" % hop.port,
                      "deliver.workers": 1, "send.retry_min": "1h",
                      "send.retry_max": "1h"})
    pids = until("there", lambda: by_role(m.process.pid).get("mailbox"))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    with m.smtp() as s:
        s.sendmail("a@src.test", ["ann@here.test", "u@x.test"], TEXT)
    return m, pids


def test_a_message_in_both_queues(mta):
    """list and show ask both processes; cat prints the one text."""
    go = threading.Event()
    with Peer(answers={"DOT": lambda *_: go.wait(120) and "250 ok"}) as hop:
        m, pids = both_queues(mta, hop)
        try:
            until("both are delivering", lambda: sorted(
                sum(shown(m, "--state", "delivering"), [])) == [
                    "ann@here.test", "u@x.test"])
            assert {q["queue"] for q in m.queued()} == {"local", "remote"}
            [id] = {q["id"] for q in m.queued()}
            said = m.tool("queue", "show", id).stdout.decode()
            assert "now at mailbox ann\n" in said
            assert "(127.0.0.1:%d), session " % hop.port in said
            text = m.tool("queue", "cat", id).stdout
            assert text.count(b"Subject: both\r\n") == 1
            assert text.endswith(TEXT)
            m.kill_all()  # the slots are all there is
            assert m.tool("queue", "cat", id).stdout == text
            assert {q["queue"] for q in m.queued()} == {"local", "remote"}
        finally:
            go.set()
            for pid in pids:
                send_signal(pid, signal.SIGCONT)


def test_cat_without_daemons(queue):
    [q] = [x for x in queue.queued() if x["sender"] == "bob@b.test"]
    queue.stop()
    text = queue.tool("queue", "cat", q["id"]).stdout
    assert text.endswith(b"\r\nSubject: x\r\n\r\n" + b"y" * 10 + b"\r\n")
    none = queue.tool("queue", "cat", "0" * 16, check=False)
    assert none.returncode == 66 and none.stdout == b""
