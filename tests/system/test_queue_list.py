"""`mta queue list`: filters, order, errors; with and without daemons."""

import json

import pytest

from dnsserver import DnsServer
from harness import until
from peer import Peer

EX_USAGE = 64


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
    for state in ("held", "delivered", "failed", "expanded", "deleted",
                  "delivering"):
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
