"""Hosts that are away for a while, and the next MX."""

import signal

import pytest

from dnsserver import DnsServer
from harness import until
from peer import Peer

LETTERS = 40
ZONE = {"x.test": "@ MX 10 a\n@ MX 20 b\na A 127.0.0.1\nb A 127.0.0.2",
        "one.test": "@ MX 10 c\nc A 127.0.0.3"}


@pytest.fixture
def best():
    with Peer("127.0.0.1", answers={"RCPT": ["450 4.2.0 not now"]}) as p:
        yield p


@pytest.fixture
def sender(mta, best):
    with DnsServer(ZONE) as d:
        yield mta(settings={"dns.servers": [d.address],
                            "send.port": best.port,
                            "send.retry_min": "4s",
                            "send.retry_max": "60s"})


def submit(m, to, n=1):
    with m.smtp() as s:
        for _ in range(n):
            s.sendmail("a@src.test", [to], b"Subject: x\r\n\r\nhi\r\n")


def test_all_mail_leaves_at_the_first_opening(sender, best):
    """Away, all of it does a round, which costs the log a line; there again,
    one message tries the host, and the others follow at once."""
    m = sender
    submit(m, "u@one.test", LETTERS)
    until("rounds", lambda: len([q for q in m.queued() if
                                 q["recipients"][0]["rounds"]]) == LETTERS)
    with Peer("127.0.0.3", best.port) as p:
        until("the first", lambda: p.messages)
        until("all others", lambda: len(p.messages) == LETTERS, 3)
        assert len(p.sessions) == 1
    assert until("empty", lambda: m.queued() == [])
    shut = m.events("send.unreachable", address="127.0.0.3:%d" % best.port)
    lines = m.events("send.deferred")
    assert 0 < len(lines) <= len(shut)
    assert not m.events("send.deferred", others="0")


def test_sigusr1_tries_shut_hosts(sender, best):
    m = sender
    submit(m, "u@one.test", 3)
    until("shut", lambda: m.events("send.deferred"))
    with Peer("127.0.0.3", best.port) as p:
        m.kill(signal.SIGUSR1)
        until("all delivered", lambda: len(p.messages) == 3)


def test_a_soft_refusal_goes_to_the_next_mx(sender, best):
    """At once, and without a line of the first one."""
    m = sender
    with Peer("127.0.0.2", best.port) as p:
        submit(m, "u@x.test")
        until("delivered", lambda: p.messages)
    done = until("line", lambda: m.events("send.delivered"))[0]
    assert done["mx"] == "b.x.test"
    assert not m.events("send.deferred")


def test_without_a_next_mx_the_first_reply_counts(sender, best):
    m = sender
    submit(m, "u@x.test")
    line = until("line", lambda: m.events("send.deferred"))[0]
    assert (line["mx"], line["reply"]) == ("a.x.test", "not now")
    assert line["code"] == "450" and line["status"] == "4.2.0"
    until("delivered", lambda: best.messages)  # at the next try
    assert len(m.events("send.deferred")) == 1


def test_once_waits_for_a_pause(mta):
    """Two lost sessions in a row: the third one begins a second later, and
    the pass is not over before."""
    with Peer("127.0.0.3", answers={"MAIL": [None, None]}) as p, \
            DnsServer(ZONE) as d:
        m = mta("serve", settings={"dns.servers": [d.address],
                                   "send.port": p.port})
        submit(m, "u@one.test", 3)
        m.tool("send", "--once", check=False)
        assert len(p.messages) == 1
        assert len(p.sessions) == 3
