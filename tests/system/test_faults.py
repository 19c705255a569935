"""Some failures of calls that deserve a test of their own, by the library of
tests/faults: those that need several clients at once, and those that once were
handled wrongly.  `make faults` fails all others."""

import errno
import itertools
import os
import signal
import sys

import pytest

from auth import AuthPeer
from dkimjudge import Keys
from dnsserver import DnsServer
from harness import DEADLINE, ROOT, UNDER_VALGRIND, preloaded, until
from peer import Peer
from processes import by_role
from test_send_login import by_command

sys.path.insert(0, os.path.join(ROOT, "tests", "faults"))

from page import FOREVER, Page  # noqa: E402

SHIM = os.environ.get("FAULTS", os.path.join(ROOT, "build", "faults",
                                             "shim.so"))
DATA = ("EHLO c.test", "MAIL FROM:<a@x.test>", "RCPT TO:<joe@here.test>")


def faulty(page):
    return {**preloaded(SHIM), "SHIM_FAULTS": page.path}


def in_data(m):
    """A client that may send its message now."""
    client = m.raw()
    for line in DATA:
        assert client.say(line)[0] == 250
    assert client.say("DATA")[0] == 354
    return client


def ended(client):
    try:
        return client.reply()[0] == 0
    except ConnectionResetError:
        return True


def test_select_fails_before_a_commit(mta, tmp_path):
    """While another client is in a transaction, a worker waits a moment for
    its message before it commits; then its select() fails.  The worker ends in
    order: nobody was told 250, and the message comes once, when it is sent
    again."""
    page = Page(str(tmp_path / "page"))
    m = mta("serve", {"serve.workers": 1}, env=faulty(page))
    worker = int(until("a worker", lambda: m.events(
        "serve.worker", state="started"))[0]["pid"])
    with in_data(m) as one, in_data(m):
        page.arm(("pid", worker), "select", errno.ENOMEM)
        one.send("Subject: first\r\n\r\nhi\r\n.\r\n")
        assert ended(one)  # not 250: the sync had not been asked for
    page.disarm()
    assert page.hits == 1 and page.counts().get("fdatasync", 0) == 0
    until("the worker has ended by itself", lambda: m.events(
        "serve.worker", state="died", pid=worker, signal=0))
    assert m.copies("joe", 0) == []
    with in_data(m) as again:
        again.send("Subject: again\r\n\r\nhi\r\n.\r\n")
        assert again.reply()[0] == 250
    assert [b"Subject: again\n" in t for t in m.copies("joe")] == [True]
    assert m.stop() == 0


def has_a_collector(m):
    """Then the first child of `mta send` is the sender."""
    until("a collector", lambda: m.events("log.start"))


# The last of the writes that fail, the status of `send --once`.
MARKS = {"once": (1, 0), "for good": (FOREVER, 75)}


@pytest.mark.parametrize("how", MARKS)
def test_the_disk_takes_no_marks(mta, tmp_path, how):
    """The remote host has the message, but the queue cannot be told: that is
    tried again until the end.  If it works no more, the status says that mail
    is left, and so it is."""
    last, status = MARKS[how]
    page = Page(str(tmp_path / "page"))
    with Peer() as p, DnsServer({"far.test": "@ A 127.0.0.1"}) as dns:
        m = mta("serve", {"dns.servers": [dns.address], "send.port": p.port,
                          "queue.history": 0,
                              "serve.relay_networks": ["127.0.0.1/32"]})
        with m.smtp() as c:
            c.sendmail("a@x.test", ["u@far.test"], b"Subject: s\r\n\r\nhi\r\n")
        has_a_collector(m)
        page.arm(("path", "1"), "pwritev", errno.EIO, 1, last)
        done = m.tool("send", "--once", check=False, env=faulty(page))
        page.disarm()
        assert page.hits >= 1
        until("the log tells", lambda: m.events("queue.slot"))
        assert done.returncode == status
        assert len(m.queued()) == (1 if status else 0)
        assert m.tool("send", "--once").returncode == 0
        assert len(p.messages) == (2 if status else 1)
        assert m.queued() == []


@pytest.mark.skipif(UNDER_VALGRIND, reason="its own malloc() is used")
@pytest.mark.parametrize("call", ["malloc", "calloc"])
def test_no_memory_for_what_waits(mta, tmp_path, call):
    """Mail that a scan of the queue had no memory for is not forgotten in the
    status: wherever the one failure hits, 0 means that all is done, and it
    comes to an end, also where the first of two for a host is hit."""
    page = Page(str(tmp_path / "page"))
    with Peer() as p, DnsServer({"far.test": "@ A 127.0.0.1"}) as dns:
        m = mta("serve", {"dns.servers": [dns.address], "send.port": p.port,
                          "serve.relay_networks": ["127.0.0.1/32"],
                          "send.tls": "none"})  # OpenSSL asks thousands
        has_a_collector(m)
        for nth in itertools.count(1):
            for _ in range(2):
                with m.smtp() as c:
                    c.sendmail("a@x.test", ["u@far.test"], b"hi\r\n")
            page.arm(("path", "1"), call, errno.ENOMEM, nth)
            done = m.tool("send", "--once", check=False, env=faulty(page))
            page.disarm()
            assert done.returncode != 0 or m.queued() == []
            assert done.returncode in (0, 75) or done.stderr
            if not page.hits:
                break
            if m.queued():
                m.tool("send", "--drain")
        assert nth > {"malloc": 20, "calloc": 42}[call]


# --- the process that fetches tokens --------------------------------------------

TOKEN_FAULTS = {
    "its pair breaks": ("recv", errno.ECONNRESET),
    "the end of the program is not seen": ("write", errno.EIO),
    "a pair is not made": ("socketpair", errno.EMFILE),
    "its pair is not sent": ("sendmsg", errno.ENOBUFS),
    "it cannot list what it may use": ("readdir", errno.EIO),
}


@pytest.mark.parametrize("fault", [
    pytest.param(f, marks=pytest.mark.skipif(
        c == "readdir" and "/san-" in os.environ.get("MTA", ""),
        reason="the sanitizer reads directories itself"))
    for f, (c, _) in TOKEN_FAULTS.items()])
def test_a_token_comes_after_a_fault(mta, tmp_path, fault):
    """Mail waits for it, and is not waiting for ever."""
    call, error = TOKEN_FAULTS[fault]
    page = Page(str(tmp_path / "page"), speed=20)
    with AuthPeer("XOAUTH2", secret="t") as peer:
        m = mta("run", by_command(peer, tmp_path / "get", "echo t\n"),
                env=faulty(page))
        pid = until("the process", lambda: by_role(m.process.pid).get(
            "token"))[0]
        # collector, deliver, mailboxes, workers, sender, token
        until("all are confined", lambda: len(m.events("sandbox.on")) >= 8)
        if call in ("recv", "write"):
            page.arm(("pid", pid), call, error)
        elif call == "readdir":
            page.arm(("parent", m.process.pid), call, error)
            os.kill(pid, signal.SIGKILL)
        else:  # the second: the first is of its line
            page.arm(("pid", m.process.pid), call, error,
                     nth=2 if call == "socketpair" else 1)
            os.kill(pid, signal.SIGKILL)
        with m.smtp() as s:
            s.sendmail("a@src.test", ["u@x.test"], b"Subject: x\r\n\r\nx\r\n")
        until("delivered", lambda: peer.messages, DEADLINE * 2)
        page.disarm()
        assert page.hits == 1 and len(peer.messages) == 1
        open(m.stderr, "w").close()


# --- the signer -----------------------------------------------------------------

@pytest.mark.skipif("/san-" in os.environ.get("MTA", "") or UNDER_VALGRIND,
                    reason="they have an allocator of their own")
def test_a_signer_without_memory_is_replaced(mta, tmp_path):
    """Its first signature fails: the mail waits, and the next signer has no
    memory of that."""
    page = Page(str(tmp_path / "page"), speed=20)
    keys = Keys(tmp_path)
    keys.add("src.test", "s1", "--ed25519")
    with Peer() as peer:
        m = mta("run", {"send.relay_host": "[127.0.0.1]:%d" % peer.port,
                        "dkim.keys": keys.settings}, env=faulty(page))
        until("the signer", lambda: [e for e in m.events(
            "sandbox.on", process="signer")])
        first = by_role(m.process.pid)["signer"][0]
        os.kill(first, signal.SIGKILL)  # one that fails at the start ends all
        pid = until("the second", lambda: [
            x for x in by_role(m.process.pid).get("signer", [])
            if x != first])[0]
        until("it is confined", lambda: len(m.events(
            "sandbox.on", process="signer")) == 2)
        page.arm(("pid", pid), "malloc", errno.ENOMEM, last=FOREVER)
        with m.smtp() as s:
            s.sendmail("a@src.test", ["u@x.test"],
                       b"From: a@src.test\r\n\r\nx\r\n")
        until("another signer", lambda: by_role(m.process.pid).get(
            "signer") not in (None, [pid]))
        page.disarm()
        until("delivered", lambda: peer.messages)
        assert peer.messages[0].data.startswith(b"DKIM-Signature:")
        assert "signer" in m.errors()  # loud
        open(m.stderr, "w").close()
