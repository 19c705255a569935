"""`mta send` against mail hosts that a real DNS server names."""

import datetime
import email
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from dnsserver import DnsServer
from harness import DEADLINE, children_of, connect, free_port, until
from peer import Peer
from processes import by_role, signals

SINK = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"


@pytest.fixture
def peers(request):
    """peers(host, port, answers=..., extensions=...), closed at the end."""
    made = []

    def make(*args, **kwargs):
        p = Peer(*args, **kwargs)
        made.append(p)
        return p
    yield make
    for p in made:
        p.close()


@pytest.fixture
def dns():
    made = []

    def make(zones):
        d = DnsServer(zones)
        made.append(d)
        return d
    yield make
    for d in made:
        d.close()


def system(mta, server, port, **settings):
    more = {"dns.servers": [server.address], "send.port": port}
    more.update({k.replace("__", "."): v for k, v in settings.items()})
    return mta(settings=more)


def submit(m, rcpts, sender="a@src.test", body=b"Subject: x\r\n\r\nhi\r\n"):
    with m.smtp() as s:
        return s.sendmail(sender, rcpts, body)


def body_of(message):
    """Without the trace that we add."""
    head, _, rest = message.data.partition(b"Subject:")
    assert head.startswith(b"Received:"), head
    return b"Subject:" + rest


# --- the way ----------------------------------------------------------------

def test_mx_by_preference(mta, dns, peers):
    best, other = peers("127.0.0.1"), None
    other = peers("127.0.0.2", best.port)
    d = dns({"x.test": "@ MX 20 b\n@ MX 10 a\na A 127.0.0.1\nb A 127.0.0.2"})
    m = system(mta, d, best.port)
    submit(m, ["u@x.test"])
    until("delivered", lambda: best.messages)
    assert not other.sessions
    assert best.messages[0].sender.startswith("MAIL FROM:<a@src.test>")
    assert best.messages[0].rcpts == ["RCPT TO:<u@x.test>"]
    until("log", lambda: m.events("send.delivered", to="u@x.test"))
    assert until("empty", lambda: m.queued() == [])


@pytest.mark.parametrize("name,zone", [
    ("no MX, an address", "@ A 127.0.0.1"),
    ("MX is a CNAME", "@ MX 10 c\nc CNAME a\na A 127.0.0.1"),
    ("best MX refuses connections",
     "@ MX 10 dead\n@ MX 20 a\ndead A 127.0.0.9\na A 127.0.0.1"),
    ("first address refuses", "@ MX 10 a\na A 127.0.0.1\na A 127.0.0.9"),
    ("first MX has no address", "@ MX 10 none\n@ MX 20 a\na A 127.0.0.1"),
    ("we are a worse MX",
     "@ MX 10 a\n@ MX 20 mx.here.test.\na A 127.0.0.1"),
    ("IPv6 refuses, IPv4 answers",
     "@ MX 10 a\na AAAA ::1\na A 127.0.0.1"),
])
def test_finds_the_way(mta, dns, peers, name, zone):
    p = peers("127.0.0.1")
    m = system(mta, dns({"x.test": zone, "here.test": "mx A 127.0.0.8"}),
               p.port)
    submit(m, ["u@x.test"])
    until(name, lambda: p.messages)


def test_ipv6(mta, dns, peers):
    p = peers("::1")
    m = system(mta, dns({"x.test": "@ MX 10 a\na AAAA ::1"}), p.port)
    submit(m, ["u@x.test"])
    until("delivered", lambda: p.messages)


@pytest.mark.parametrize("name,zone,status", [
    ("null MX", "@ MX 0 .", "5.1.10"),
    ("MX without addresses", "@ MX 10 none", "5.4.4"),
    ("we are the best MX", "@ MX 10 mx.here.test.\n@ MX 20 b\nb A 127.0.0.3",
     "5.4.6"),
    ("MX has an impossible name",
     "@ MX 10 a\\(b.x.test.\n@ A 127.0.0.9", "5.4.4"),
    ("MX is 0.0.0.0", "@ MX 10 a\na A 0.0.0.0", "5.4.6"),
    ("MX is ::", "@ MX 10 a\na AAAA ::", "5.4.6"),
    ("MX is multicast", "@ MX 10 a\na A 224.0.0.1\na AAAA ff02::1",
     "5.4.4"),
    ("MX is broadcast", "@ MX 10 a\na A 255.255.255.255", "5.4.4"),
    ("no such domain", None, "5.1.2"),
])
def test_no_way_bounces(mta, dns, name, zone, status):
    zones = {"here.test": "mx A 127.0.0.8"}
    if zone is not None:
        zones["x.test"] = zone
    m = system(mta, dns(zones), free_port())
    submit(m, ["u@x.test"], sender="joe@here.test")
    bounce = until(name, lambda: m.mailbox("joe"))[0]
    assert b"Status: " + status.encode() in bounce, bounce
    assert b"multipart/report" in bounce
    until("logged", lambda: m.events("send.bounced", to="u@x.test",
                                     status=status))


@pytest.mark.parametrize("to", ["x.test", "[0.0.0.0]", "[IPv6:::]"])
def test_loop_ends_at_the_first_round(mta, dns, to):
    """A wildcard listener, and an MX of loopback that it covers."""
    d = dns({"x.test": "@ MX 10 a\na A 127.0.0.77"})
    m = mta(start=False)
    m.settings.update({"serve.listen": ["0.0.0.0:%d" % m.port],
                       "send.port": m.port, "dns.servers": [d.address]})
    m.write_conf()
    m.start()
    submit(m, ["u@" + to], sender="joe@here.test")
    bounce = until("bounce", lambda: m.mailbox("joe"))[0]
    assert b"Status: 5.4.6" in bounce, bounce
    assert len(m.events("serve.accepted")) == 1


def test_setting_that_leads_nowhere_waits(mta, dns, peers):
    """NXDOMAIN for relay_host is our fault: nothing is counted or returned."""
    p = peers("127.0.0.1")
    d = dns({"hub.test": ""})
    m = system(mta, d, p.port, send__relay_host="mail.hub.test",
               send__retry_min="1s", send__retry_max="1s",
               send__queue_lifetime="2s")
    submit(m, ["u%d@x.test" % i for i in range(3)])
    until("reported", lambda: m.events("send.next_hop", status="4.3.5"))
    time.sleep(4)  # longer than the lifetime
    assert len(m.events("send.next_hop")) == 1  # a minute has not passed
    assert not m.events("send.bounced")
    assert not m.events("send.deferred")
    assert len(m.queued()) == 1
    d.update({"hub.test": "mail A 127.0.0.1"})
    m.kill(signal.SIGUSR1)
    until("delivered", lambda: p.messages)


def test_relay_host_localhost(mta, dns, peers):
    p = peers("127.0.0.1")
    m = system(mta, dns({}), free_port(),
               send__relay_host="[localhost]:%d" % p.port)
    submit(m, ["u@x.test"])
    until("delivered", lambda: p.messages)


def test_dns_failure_defers(mta, dns, peers):
    p = peers("127.0.0.1")
    d = dns({"x.test": "@ MX 10 a\na A 127.0.0.1"})
    d.stop()
    m = system(mta, d, p.port, dns__timeout="1s")
    submit(m, ["u@x.test"])
    until("deferred", lambda: m.events("send.deferred", status="4.4.3"))
    assert not p.sessions
    waits = m.queued()[0]["recipients"][0]  # its turn came, none was asked
    assert waits["attempts"] == 0 and waits["rounds"] >= 1
    assert waits["status"] == "4.4.3" and waits["address_tried"] is None
    assert waits["first_attempt"] <= waits["last_attempt"]
    # what came, from which server, to which question
    assert waits["reply"] == ("Connection refused from %s for x.test MX"
                              % d.address)
    d.start()
    m.kill(signal.SIGUSR1)
    until("delivered after all", lambda: p.messages)


class Selective:
    """In front of a DNS server: what is asked for in a zone named dead gets no
    answer."""

    def __init__(self, server):
        self.to = (server.host, server.port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.dropped = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.connect(self.to)
            while True:
                question, client = self.socket.recvfrom(4096)
                if not question:
                    return
                if b"\4dead" in question:
                    self.dropped += 1
                    continue
                out.send(question)
                self.socket.sendto(out.recv(4096), client)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.socket.getsockname())
        self.thread.join(DEADLINE)
        self.socket.close()


def test_silent_name_servers_delay_no_other(mta, dns, peers):
    """One message to 150 domains whose servers are silent, then others to a
    healthy domain each."""
    p = peers("127.0.0.1")
    front = Selective(dns({"good.test": "* MX 10 mx\nmx A 127.0.0.1"}))
    try:
        m = system(mta, front, p.port)
        submit(m, ["u@d%d.dead.test" % i for i in range(150)])
        until("asked", lambda: front.dropped >= 40)
        for i in range(3):
            start = time.monotonic()
            submit(m, ["u@n%d.good.test" % i])
            until("delivered", lambda: len(p.messages) == i + 1)
            assert time.monotonic() - start < 5  # the time for one try
    finally:
        front.close()


@pytest.mark.parametrize("how", ["relay_host", "routes"])
def test_routes(mta, dns, peers, how):
    p = peers("127.0.0.1")
    there = "[127.0.0.1]:%d" % p.port
    settings = {"relay_host": {"send__relay_host": there},
                "routes": {"send__routes": [".test=" + there]}}[how]
    m = system(mta, dns({}), p.port, **settings)
    submit(m, ["u@any.test"])
    until("delivered", lambda: p.messages)


# --- sessions ---------------------------------------------------------------

def test_one_socket_to_one_mx(mta, dns, peers):
    """1000 messages to 50 domains that share 5 hosts: 5 connections."""
    port = free_port("127.0.0.11")
    hosts = [peers("127.0.0.%d" % (11 + i), port) for i in range(5)]
    zones = {"d%d.test" % d: "@ MX 10 mx%d.hosts.test." % (d % 5)
             for d in range(50)}
    zones["hosts.test"] = "\n".join("mx%d A 127.0.0.%d" % (i, 11 + i)
                                    for i in range(5))
    m = system(mta, dns(zones), port, send__session_linger="20s")
    with m.smtp() as s:
        for i in range(1000):
            s.sendmail("a@src.test", ["u%d@d%d.test" % (i, i % 50)],
                       b"Subject: %d\r\n\r\nhi\r\n" % i)
    until("all arrive", lambda: sum(len(h.messages) for h in hosts) == 1000)
    assert [len(h.messages) for h in hosts] == [200] * 5
    assert [len(h.sessions) for h in hosts] == [1] * 5
    assert [h.most for h in hosts] == [1] * 5
    numbers = {x.data.split(b"Subject: ")[1].split(b"\r\n")[0]
               for h in hosts for x in h.messages}
    assert len(numbers) == 1000


@pytest.mark.memory
def test_recipients_of_one_message_share_a_transaction(mta, dns, peers):
    p = peers("127.0.0.1")
    d = dns({"x.test": "@ MX 10 a.x.test.\na A 127.0.0.1",
             "y.test": "@ MX 10 a.x.test."})
    m = system(mta, d, p.port, send__session_linger="20s")
    submit(m, ["warm@x.test", "up@y.test"])  # both destinations known
    until("warm", lambda: sum(len(x.rcpts) for x in p.messages) == 2)
    submit(m, ["u@x.test", "v@y.test", "w@x.test"])
    until("delivered", lambda: sum(len(x.rcpts) for x in p.messages) == 5)
    assert len(p.messages[-1].rcpts) == 3
    assert len(p.sessions) == 1


def test_both_equal_mx_are_used(mta, dns, peers):
    def slow(session, line):
        time.sleep(0.01)  # the peer's work: what makes one host not enough
        return "250 ok"
    a = peers("127.0.0.1", answers={"DOT": slow})
    b = peers("127.0.0.2", a.port, answers={"DOT": slow})
    d = dns({"x.test": "@ MX 10 a\n@ MX 10 b\na A 127.0.0.1\nb A 127.0.0.2"})
    m = system(mta, d, a.port)
    with m.smtp() as s:
        for i in range(200):
            s.sendmail("a@src.test", ["u%d@x.test" % i],
                       b"Subject: x\r\n\r\nhi\r\n")
    until("all", lambda: len(a.messages) + len(b.messages) == 200)
    assert a.messages and b.messages
    assert a.most == 1 and b.most == 1


def test_session_limit_of_the_peer_costs_nothing(mta, dns, peers):
    def limited(session, line):
        return "421 enough" if session.messages >= 10 else "250 ok"
    p = peers("127.0.0.1", answers={"MAIL": limited})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port,
               send__retry_min="1h", send__retry_max="1h")
    with m.smtp() as s:
        for i in range(100):
            s.sendmail("a@src.test", ["u%d@x.test" % i],
                       b"Subject: x\r\n\r\nhi\r\n")
    until("all", lambda: len(p.messages) == 100)
    assert p.most == 1
    assert not m.events("send.deferred")


@pytest.mark.parametrize("extensions", [
    (), pytest.param(("PIPELINING",), marks=pytest.mark.memory)])
def test_bodies_arrive_byte_for_byte(mta, dns, peers, extensions):
    bodies = [
        b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\na.\r\n",
        b"Subject: empty\r\n\r\n",
        b"Subject: no body\r\n",
        b"Subject: long\r\n\r\n" + b"x" * 998 + b"\r\n",
        b"Subject: 8bit\r\n\r\n" + bytes(range(128, 256)) + b"\r\n",
        b"Subject: large\r\n\r\n" + b".0123456789abcdef\r\n" * 200000,
    ]
    p = peers("127.0.0.1", extensions=extensions)
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port)
    with m.smtp() as s:
        for b in bodies:
            s.sendmail("a@src.test", ["u@x.test"], b)
    until("all", lambda: len(p.messages) == len(bodies))
    assert sorted(body_of(x) for x in p.messages) == sorted(bodies)


# --- answers ----------------------------------------------------------------

@pytest.mark.memory
def test_each_recipient_has_its_own_fate(mta, dns, peers):
    greylisted = []

    def by_name(session, line):
        if "bad" in line:
            return "550 5.1.1 unknown"
        if "grey" in line and not greylisted:
            greylisted.append(line)
            return "451 4.7.1 greylisted, wait 1 second"
        return "250 ok"
    p = peers("127.0.0.1", answers={"RCPT": by_name})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port)
    submit(m, ["good@x.test", "grey@x.test", "bad@x.test"],
           sender="joe@here.test")
    until("good", lambda: p.messages)
    assert p.messages[0].rcpts == ["RCPT TO:<good@x.test>"]
    bounce = until("bounce", lambda: m.mailbox("joe"))[0]
    assert b"bad@x.test" in bounce and b"grey@x.test" not in bounce
    assert b"Return-Path: <>" in bounce
    until("retried", lambda: len(p.messages) == 2)
    assert p.messages[1].rcpts == ["RCPT TO:<grey@x.test>"]
    m.copies("joe")


@pytest.mark.memory
def test_retry_survives_a_restart(mta, dns, peers):
    p = peers("127.0.0.1", answers={"RCPT": "450 4.2.0 later"})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port,
               send__retry_min="1h", send__retry_max="1h")
    submit(m, ["u@x.test"])
    until("deferred", lambda: m.events("send.deferred"))
    until("in the queue", lambda: m.queued()[0]["recipients"][0]["attempts"])
    m.stop()
    assert m.queued()[0]["queue"] == "remote" and m.queued()[0]["part"] == 0
    before = m.queued()[0]["recipients"][0]
    assert before["attempts"] == 1 and before["rounds"] == 0
    assert before["address_tried"] == "127.0.0.1" and before["tls"] == "none"
    assert before["status"] == "4.2.0" and before["code"] == 450
    assert "450" in before["reply"] or "later" in before["reply"]
    p.answers.clear()
    m.start()
    until("sender", lambda: len(m.events("send.start")) == 2)
    m.kill(signal.SIGUSR1)  # not before its time, but when told
    until("delivered", lambda: p.messages)


def rot(queue, text):
    """Change one bit of that text, wherever it stands in the queue."""
    for name in glob.glob(os.path.join(queue, "**", "*.seg"), recursive=True):
        with open(name, "r+b") as f:
            at = f.read().find(text)
            if at >= 0:
                f.seek(at)
                f.write(bytes([text[0] ^ 1]))
                return
    raise AssertionError("not in the queue")


@pytest.mark.parametrize("setting", [False, True])
@pytest.mark.parametrize("extensions", [(), ("PIPELINING", "CHUNKING")])
def test_damage_is_not_delivered(mta, dns, peers, extensions, setting):
    """A message that has rotted waits, the others go; where the next hop is
    a setting, that is not to blame."""
    p = peers("127.0.0.1", answers={"RCPT": "450 4.2.0 later"},
              extensions=extensions)
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port,
               send__retry_min="1s", send__retry_max="1s",
               send__relay_host="[127.0.0.1]" if setting else "")
    submit(m, ["bad@x.test"], body=b"Subject: a\r\n\r\nthis one rots\r\n")
    submit(m, ["good@x.test"], body=b"Subject: b\r\n\r\nthis one stays\r\n")
    until("deferred", lambda: len(m.events("send.deferred")) >= 2)
    m.stop()
    rot(m.queue, b"this one rots")
    p.answers.clear()
    m.start()
    until("delivered", lambda: p.messages)
    assert b"this one stays" in p.messages[0].data
    until("reported", lambda: m.events("queue.unreadable",
                                       error="message damaged on disk"))
    waits = until("shown", lambda: [
        r for q in m.queued() for r in q["recipients"]
        if r["status"] == "4.3.5" and r["state"] == "pending"])[0]
    assert waits["address"] == "bad@x.test"  # it is tried each second
    assert waits["reply"] == "message damaged on disk"
    assert all(b"this one" not in x.data or b"stays" in x.data
               for x in p.messages)
    id = m.queued()[0]["id"]
    cat = m.tool("queue", "cat", id, check=False)
    assert cat.returncode != 0 and b"damaged" in cat.stderr
    assert not m.events("send.next_hop")
    submit(m, ["more@x.test"], body=b"Subject: c\r\n\r\nthis one stays\r\n")
    until("the next one", lambda: len(p.messages) == 2)
    assert b"this one" not in cat.stdout


def test_a_damaged_envelope_is_shown(mta, dns, peers):
    """Whom it is for is not known any more: an operator must look."""
    p = peers("127.0.0.1", answers={"RCPT": "450 4.2.0 later"})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port,
               send__retry_min="1s", send__retry_max="1s")
    submit(m, ["lost@x.test"])
    submit(m, ["good@x.test"])
    until("deferred", lambda: len(m.events("send.deferred")) >= 2)
    m.stop()
    rot(m.queue, b"lost@x.test")
    p.answers.clear()
    m.start()
    until("delivered", lambda: p.messages)
    assert p.messages[0].rcpts == ["RCPT TO:<good@x.test>"]
    until("reported", lambda: m.events("queue.unreadable",
                                       error="message damaged on disk"))
    shown = until("alone", lambda: len(m.queued()) == 1 and m.queued()[0])
    assert shown["damaged"] and shown["recipients"] == []
    assert "damaged on disk" in m.tool("queue", "list").stdout.decode()
    assert len(p.messages) == 1


def waits_for_a_lock(pid):
    with open("/proc/locks") as f:
        return any(" -> " in line and " %d " % pid in line for line in f)


def sender_that_starts(m, before):
    """The child that hears of SIGUSR1, while it waits for the queue.  One
    just forked has handlers of its parent; it forgets that for SIGCHLD when
    it already ignores SIGUSR1."""
    for pid in children_of(m.process.pid):
        if pid == before or signal.SIGCHLD in signals(pid, "SigCgt"):
            continue
        ignored = signals(pid, "SigIgn")
        if ignored and signal.SIGUSR1 not in ignored:
            return pid
    return None


def test_told_before_it_has_read_the_queue(mta, dns, peers):
    """SIGUSR1 at a start of the sender, which waits for the queue here, is for
    the messages that the start finds."""
    p = peers("127.0.0.1", answers={"RCPT": "450 4.2.0 later"})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port,
               send__retry_min="1h", send__retry_max="1h")
    submit(m, ["u@x.test"])
    until("in the queue", lambda: m.queued()[0]["recipients"][0]["attempts"])
    p.answers.clear()
    with open(os.path.join(m.queue, "remote", "lock")) as f:
        lock = threading.Thread(target=fcntl.flock, args=(f, fcntl.LOCK_EX))
        lock.start()
        until("in line for the lock", lambda: waits_for_a_lock(os.getpid()))
        [sender] = by_role(m.process.pid)["send"]
        os.kill(sender, signal.SIGKILL)
        lock.join(DEADLINE)
        os.kill(until("sender", lambda: sender_that_starts(m, sender)),
                signal.SIGUSR1)
    until("delivered", lambda: p.messages)


def test_expiry_bounces(mta, dns, peers):
    p = peers("127.0.0.1", answers={"RCPT": "450 4.2.0 never mind"})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port,
               send__queue_lifetime="3s")
    submit(m, ["u@x.test"], sender="joe@here.test")
    bounce = until("bounce", lambda: m.mailbox("joe"))[0]
    assert b"never mind" in bounce
    assert b"\nStatus: 5.4.7\n" in bounce  # delivery time expired
    assert b"smtp; 450 4.2.0 never mind\n" in bounce
    assert b"Not delivered within 3 seconds, and given up." in bounce
    until("logged", lambda: m.events("send.deferred"))
    [end] = until("the end", lambda: m.events("send.bounced"))
    assert (end["code"], end["status"]) == ("450", "5.4.7")
    offered = len(m.events("send.deferred")) + 1
    assert (b"Offered to a mail host %d times" % offered
            in b" ".join(bounce.split())), bounce
    shown = m.tool("queue", "show", end["id"]).stdout.decode()
    assert "    u@x.test  failed, expired, offered %d times, " % offered in shown


def test_queue_explains_a_message(mta, dns, peers):
    """Text and JSON of `mta queue show` have the same content."""
    p = peers("127.0.0.1",
              answers={"RCPT": "450 4.2.0 not now " + "please " * 30})
    m = system(mta, dns({"x.test": "@ MX 10 mx.x.test.",
                         "mx.x.test": "@ A 127.0.0.1"}), p.port,
               send__retry_min="1h", send__retry_max="1h",
               send__queue_lifetime="5d")
    with m.raw() as c:
        c.send("EHLO client.test\r\n"
               "MAIL FROM:<a@client.test>\r\nRCPT TO:<u@x.test>\r\n"
               "RCPT TO:<v@x.test>\r\nDATA\r\n")
        assert [c.reply()[0] for _ in range(5)] == [250] * 4 + [354]
        assert c.say("\r\nx\r\n.")[0] == 250
    until("tried", lambda: all(r["attempts"] for r in
                               m.queued()[0]["recipients"]))
    [listed] = m.queued()
    shown = json.loads(m.tool("queue", "show", listed["id"], "--json").stdout)
    assert {k: shown[k] for k in listed} == listed
    assert shown["client"] == "127.0.0.1" and shown["helo"] == "client.test"
    text = m.tool("queue", "show", listed["id"]).stdout.decode()
    first = text.splitlines()[0]
    for t in (shown["arrival"], shown["expires"]):
        assert local_time(t) in first
    assert " remote " in first and "<a@client.test>" in first
    for k in ("client", "helo", "sid"):
        assert shown[k] in text
    for r in shown["recipients"]:
        assert r["mx"] == "mx.x.test" and r["address_tried"] == "127.0.0.1"
        assert (r["code"], r["status"]) == (450, "4.2.0")
        assert len(r["reply"]) == 120 and r["reply"].endswith("...")
        assert (r["attempts"], r["rounds"]) == (1, 0)
        assert ("    %s  pending, offered 1 time, last %s, next %s\n"
                "        4.2.0  mx.x.test (127.0.0.1:%d, tls none) replied: "
                "450 %s\n" % (r["address"], local_time(r["last_attempt"]),
                             local_time(r["next_attempt"]), p.port,
                             r["reply"])) in text, text
    listing = m.tool("queue", "list").stdout.decode()
    assert "replied: 450 not now" in listing and "expires" in listing


def local_time(rfc3339):
    t = datetime.datetime.strptime(rfc3339[:19] + "+0000",
                                   "%Y-%m-%dT%H:%M:%S%z")
    return t.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def test_never_a_bounce_for_a_bounce(mta, dns, peers):
    p = peers("127.0.0.1", answers={"RCPT": "550 5.1.1 no"})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1",
                         "src.test": "@ A 127.0.0.1"}), p.port)
    submit(m, ["u@x.test"], sender="a@src.test")
    until("bounce bounced", lambda: m.events("send.bounced", bounce="none"))
    assert until("empty", lambda: m.queued() == [])
    until("both", lambda: len(m.events("send.bounced")) == 2)


def test_bounce_is_a_report(mta, dns, peers):
    p = peers("127.0.0.1", answers={"RCPT": "550 5.1.1 unknown user"})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port)
    submit(m, ["u@x.test"], sender="joe@here.test")
    raw = until("bounce", lambda: m.mailbox("joe"))[0]
    report = email.message_from_bytes(raw)
    assert report.get_content_type() == "multipart/report"
    status = [x for x in report.walk()
              if x.get_content_type() == "message/delivery-status"]
    assert len(status) == 1
    rcpt = status[0].get_payload()[1]
    assert rcpt["Action"] == "failed" and rcpt["Status"] == "5.1.1"
    assert rcpt["Diagnostic-Code"] == "smtp; 550 5.1.1 unknown user"
    assert rcpt["Remote-MTA"] == "dns; x.test"
    assert b"\nYour message to <u@x.test> could not be delivered" in raw
    assert b"x.test (127.0.0.1) replied:\n      550 5.1.1 unknown" in raw
    assert b"Offered to a mail host 1 time, on " in raw


def test_a_bounce_marks_what_it_cuts(mta, dns, peers):
    p = peers("127.0.0.1", answers={"RCPT": "550 5.7.1 " + "go away " * 300})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port)
    submit(m, ["u@x.test"], sender="joe@here.test")
    raw = until("bounce", lambda: m.mailbox("joe"))[0]
    words = b" ".join(raw.split())
    assert b"smtp; 550 5.7.1 go away go away" in words
    assert words.count(b"go away") > 2 * 250
    assert words.count(b"...") == 2  # for people and for programs


def test_what_no_host_replied_is_not_quoted(mta, dns, peers):
    """A connection that ends is told as such, in the delay notice too."""
    p = peers("127.0.0.1", answers={"RCPT": [None] * 50})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port,
               send__warn_after="1s", send__queue_lifetime="4s")
    submit(m, ["u@x.test"], sender="joe@here.test")
    both = until("notices", lambda: len(m.mailbox("joe")) == 2
                 and m.mailbox("joe"))
    both = sorted(both, key=lambda b: b"Action: failed" in b)
    for raw, first in zip(both, (b"has not been", b"could not be")):
        assert b"\nYour message to <u@x.test> " + first in raw
        assert b"replied:" not in raw and b"smtp;" not in raw
        assert re.search(rb"    Reason, at x.test( \(127.0.0.1\))?:\n      "
                         rb"lost connection while sending RCPT TO", raw), raw
    assert b"Not delivered within 4 seconds, " in both[1]


@pytest.mark.parametrize("where", ["GREETING", "EHLO", "MAIL", "RCPT",
                                   "DATA", "DOT"])
@pytest.mark.parametrize("what", [None, "421 4.4.2 not now"])
def test_a_lost_session_loses_no_mail(mta, dns, peers, where, what):
    p = peers("127.0.0.1", answers={where: [what]})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port)
    submit(m, ["u@x.test"])
    until("delivered in the end", lambda: p.messages)
    assert until("empty", lambda: m.queued() == [])
    assert len(p.messages) == 1


# --- the command ------------------------------------------------------------

def test_leaves_at_once(mta, dns, peers):
    """Each of six, not with one of the scans that come every five seconds."""
    p = peers("127.0.0.1")
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port,
               send__session_linger="20s")
    submit(m, ["warm@x.test"])
    until("first", lambda: p.messages)
    with m.smtp() as s:
        start = time.monotonic()
        for n in range(2, 8):
            s.sendmail("a@src.test", ["u@x.test"],
                       b"Subject: x\r\n\r\nhi\r\n")
            until("the next", lambda: len(p.messages) == n)
        assert time.monotonic() - start < 15


@pytest.mark.memory
def test_once_and_drain(mta, dns, peers):
    p = peers("127.0.0.1", answers={"RCPT": ["450 later", "450 later"]})
    d = dns({"x.test": "@ A 127.0.0.1"})
    m = mta("serve", settings={"dns.servers": [d.address],
                               "send.port": p.port})
    submit(m, ["u@x.test"])
    assert m.tool("send", "--once", check=False).returncode == 75
    assert not p.messages
    assert m.tool("send", "--drain", "--timeout", "20s").returncode == 0
    assert len(p.messages) == 1
    assert m.tool("send", "--once").returncode == 0


def test_once_takes_no_mail_that_arrives(mta, dns, peers):
    """Each message that leaves brings another one, while the session with a
    slow host lasts: they wait, or it would never end."""
    def another(*_):
        submit(m, ["u@x.test"])
        return "250 2.0.0 taken"

    def slow(*_):
        end = time.monotonic() + 1
        while len(p.messages) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        return "250 2.0.0 taken"
    p = peers("127.0.0.1", answers={"DOT": another})
    q = peers("127.0.0.2", p.port, answers={"DOT": slow})
    d = dns({"x.test": "@ A 127.0.0.1", "slow.test": "@ A 127.0.0.2"})
    m = mta("serve", settings={"dns.servers": [d.address],
                               "send.port": p.port})
    submit(m, ["u@slow.test"])
    submit(m, ["u@x.test"])
    assert m.tool("send", "--once", check=False).returncode == 75
    assert (len(p.messages), len(q.messages)) == (1, 1)
    assert len(m.queued()) == 1


def test_drain_gives_up_in_time(mta, dns, peers):
    p = peers("127.0.0.1", answers={"RCPT": "450 later"})
    d = dns({"x.test": "@ A 127.0.0.1"})
    m = mta("serve", settings={"dns.servers": [d.address],
                               "send.port": p.port})
    submit(m, ["u@x.test"])
    done = m.tool("send", "--drain", "--timeout", "2s", check=False)
    assert done.returncode == 75


def test_only_one_sender(mta, dns):
    m = system(mta, dns({}), free_port())
    until("sender", lambda: m.events("send.start"))
    done = m.tool("send", "--once", check=False)
    assert done.returncode != 0
    assert b"another mta delivers from " in done.stderr


def test_local_recipient_in_the_queue(mta, dns, peers):
    """A bounce to one of our own users goes to the mailbox."""
    p = peers("127.0.0.1", answers={"RCPT": "550 no"})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port)
    submit(m, ["u@x.test"], sender="Joe@Here.TEST")
    until("bounce", lambda: m.mailbox("joe") or m.mailbox("Joe"))


@pytest.mark.memory
def test_notice_follows_an_alias(mta, dns, peers):
    """A bounce to a local address whose alias leads to another host."""
    p = peers("127.0.0.1", answers={
        "RCPT": lambda s, line: "550 no" if "u@x" in line else "250 ok"})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port)
    m.stop()
    aliases = os.path.join(m.dir, "aliases")
    with open(aliases, "w") as f:
        f.write("joe: joe, far@x.test\n")
    m.settings["local.aliases"] = aliases
    m.write_conf()
    m.start()
    submit(m, ["u@x.test"], sender="joe@here.test")
    until("copy here", lambda: m.mailbox("joe"))
    until("copy there", lambda: p.messages)
    assert p.messages[0].sender.startswith("MAIL FROM:<>")
    assert p.messages[0].rcpts == ["RCPT TO:<far@x.test>"]
    assert until("empty", lambda: m.queued() == [])


def test_delay_is_told_once(mta, dns, peers):
    p = peers("127.0.0.1", answers={"RCPT": "450 later"})
    m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), p.port,
               send__warn_after="1s")
    submit(m, ["u@x.test"], sender="joe@here.test")
    notice = until("notice", lambda: m.mailbox("joe"))[0]
    assert b"Action: delayed" in notice
    seen = len(m.events("send.deferred"))
    until("tried again", lambda: len(m.events("send.deferred")) >= seen + 2)
    m.copies("joe")


# --- a counterpart that nobody here wrote -----------------------------------

@pytest.mark.skipif(not os.path.exists(SINK), reason="no smtp-sink")
@pytest.mark.parametrize("flags", [[], ["-p"], ["-8"], ["-e"]])
def test_smtp_sink(mta, dns, flags):
    """-p: no PIPELINING, -8: no 8BITMIME, -e: no EHLO."""
    port = free_port()
    out = subprocess.Popen(
        [SINK, "-c"] + (["-u", "nobody"] if os.geteuid() == 0 else []) +
        flags + ["127.0.0.1:%d" % port, "50"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        connect("127.0.0.1", port).close()
        m = system(mta, dns({"x.test": "@ A 127.0.0.1"}), port)
        with m.smtp() as s:
            for i in range(50):
                s.sendmail("a@src.test", ["u%d@x.test" % i],
                           b"Subject: x\r\n\r\n.hi\r\n")
        until("all delivered",
              lambda: len(m.events("send.delivered")) == 50, DEADLINE * 2)
        assert m.queued() == []
    finally:
        out.kill()
        out.wait()
