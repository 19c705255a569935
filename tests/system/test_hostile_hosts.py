"""Hosts that do not behave, seen from the sender: no message is lost, none
comes back that should wait, none arrives twice, and never two sockets lead
to one host (docs/reliability.md, "Hostile peers")."""

import contextlib
import os
import socket
import struct
import time

import pytest

from harness import MTA, UNDER_VALGRIND, Clock, Mta, children_of, until
from peer import Peer, established

VERBS = ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DOT"]
HONEST = {"GREETING": "220 hi", "EHLO": "250-hi\r\n250 PIPELINING",
          "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go",
          "DOT": "250 taken"}


# --- how to misbehave -------------------------------------------------------

def reset(session, line):
    session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                            struct.pack("ii", 1, 0))


def half_close(session, line):
    session.sock.shutdown(socket.SHUT_WR)
    while session.sock.recv(65536):
        pass


def silent(session, line):
    while session.sock.recv(65536):
        pass


def deaf(session, line):
    """Asks for the message and does not read it."""
    session.sock.sendall(b"354 go\r\n")
    until("the sender to give up", lambda: not established(session))


def flood(text):
    def go_on(session, line):
        while True:
            session.sock.sendall(text)
    return go_on


def drip(session, line):
    while True:
        session.sock.sendall(b"2")
        time.sleep(0.05)


DEFER, BOUNCE, DELIVER = "send.deferred", "send.bounced", "send.delivered"


def cases():
    """name -> (answers, fate)"""
    found = {}
    for v in VERBS:
        wrong = "250 ok" if v == "DATA" else "354 go"
        good = HONEST[v]
        for what, answer in [
                ("421", "421 4.3.2 busy"), ("451", "451 4.3.0 later"),
                ("close", None), ("reset", reset), ("half close", half_close),
                ("garbage", "\x1b[2J what?"), ("NUL", "\x00250 ok"),
                ("100", "100 continue"), ("wrong kind", wrong),
                ("code changes", "450-no\r\n250 ok"),
                ("endless line", flood(b"x" * 4096)),
                ("endless reply", flood(b"250-more\r\n" * 500))]:
            found["%s: %s" % (v, what)] = ({v: answer}, DEFER)
        found[v + ": 5xx"] = ({v: "550 5.7.1 no"}, {
            "GREETING": DEFER, "EHLO": DELIVER}.get(v, BOUNCE))
        # an answer too many: nobody knows what the next ones are about
        found[v + ": twice"] = ({v: good + "\r\n250 ok"}, {
            "DOT": DELIVER}.get(v, DEFER))
        code, last = good[:3], good.split("\r\n")[-1]
        found[v + ": long line"] = ({v: good + " " + "x" * 50000}, DELIVER)
        found[v + ": many lines"] = (
            {v: (code + "-more\r\n") * 3000 + last}, DELIVER)
        found[v + ": a line without an end"] = (
            {v: flood(code.encode() + b" " + b"x" * 65536)}, DEFER)
        found[v + ": LF alone"] = ({v: good.replace("\r\n", "\n")}, DELIVER)
    found["DOT: yes and no"] = ({"DOT": "250 ok\r\n550 no"}, DELIVER)
    found["MAIL: 552"] = ({"MAIL": "552 no room"}, BOUNCE)
    found["RCPT: 552"] = ({"RCPT": "552 no room"}, DEFER)
    return found


CASES = cases()


FATES = (DEFER, BOUNCE, DELIVER)


def first_fates(m):
    """What became of each message first."""
    found = {}
    for e in sorted(sum(map(m.events, FATES), []), key=lambda e: e["time"]):
        if e["to"].startswith("u@c"):  # not a notice
            found.setdefault(e["to"], e)
    return found


def sender_of(m):
    """The child of the supervisor that has threads."""
    def find():
        for p in children_of(m.process.pid):
            with contextlib.suppress(FileNotFoundError):
                if len(os.listdir("/proc/%d/task" % p)) > 2:
                    return p
    return until("a sender", find)


def sockets(pid):
    found = 0
    for fd in os.listdir("/proc/%d/fd" % pid):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink("/proc/%d/fd/%s" % (pid, fd)).startswith(
                "socket:")
    return found


def wrong(m, host, number, name, first):
    """What is not as it should be, in words."""
    fate, notices = CASES[name][1], m.mailbox("s%d" % number)
    if first["event"] != fate:
        yield "%s, not %s: %s" % (first["event"], fate, first)
    if len(host.messages) != (fate != BOUNCE):
        yield "arrived: %s" % host.messages
    if host.most > 1:
        yield "%d sockets at once" % host.most
    if len(notices) != (fate == BOUNCE):
        yield "notices: %s" % notices
    for x in host.messages:
        if not x.data.endswith(b"Subject: %d\r\n\r\nhello\r\n" % number):
            yield "damaged: %r" % x.data


def test_hosts(mta):
    """A host and a domain for each case, all mail at once; when each message
    met its fate all hosts become honest."""
    with contextlib.ExitStack() as stack:
        hosts = {n: stack.enter_context(Peer(answers=dict(CASES[n][0])))
                 for n in CASES}
        m = mta("run", {"send.routes": [
            "c%d.test=[127.0.0.1]:%d" % (i, h.port)
            for i, h in enumerate(hosts.values())]})
        pid = sender_of(m)
        base = sockets(pid)
        with m.raw() as c:
            c.say("EHLO client.test")
            for i in range(len(CASES)):
                c.send("MAIL FROM:<s%d@here.test>\r\nRCPT TO:<u@c%d.test>\r\n"
                       "DATA\r\n" % (i, i))
                assert [c.reply()[0] for _ in range(3)] == [250, 250, 354]
                assert c.say("Subject: %d\r\n\r\nhello\r\n." % i)[0] == 250
        until("fates", lambda: len(first_fates(m)) == len(CASES), 60)
        first = first_fates(m)
        for h in hosts.values():
            with h.lock:
                h.answers.clear()
        until("all is settled", lambda: m.queued() == [], 60)
        until("sockets closed", lambda: sockets(pid) == base)
        found = {n: list(wrong(m, h, i, n, first["u@c%d.test" % i]))
                 for i, (n, h) in enumerate(hosts.items())}
        assert {n: w for n, w in found.items() if w} == {}
        if "/san-" not in MTA:  # sanitizers keep what is freed
            assert rss_of(pid) < (160 if UNDER_VALGRIND else 40) * 1024


def rss_of(pid):
    """KiB"""
    with open("/proc/%d/status" % pid) as f:
        return [int(x.split()[1]) for x in f if x.startswith("VmRSS")][0]


# --- the waits of RFC 5321 4.5.3.2, at a hundred times the speed ------------

SPEED = 100
SLOW = {
    "GREETING: silent": ({"GREETING": silent}, 300),
    "EHLO: silent": ({"EHLO": silent}, 300),
    "MAIL: silent": ({"MAIL": silent}, 300),
    "RCPT: silent": ({"RCPT": silent}, 300),
    "DATA: silent": ({"DATA": silent}, 120),
    "DATA: deaf": ({"DATA": deaf}, 180),
    "DOT: silent": ({"DOT": silent}, 600),
    "GREETING: drip": ({"GREETING": drip}, 300),
    "MAIL: drip": ({"MAIL": drip}, 300),
    "DOT: drip": ({"DOT": drip}, 600),
}


def test_hosts_that_wait(clock_x100):
    """All at once: each message is put off when its time is over, a host
    that works is served meanwhile, and the mail arrives in the end."""
    hosts = {name: Peer(answers=dict(a)) for name, (a, _) in SLOW.items()}
    good = Peer()
    with contextlib.ExitStack() as stack:
        for h in list(hosts.values()) + [good]:
            stack.enter_context(h)
        m = stack.enter_context(Mta("run", {
            "send.retry_min": "10m", "send.retry_max": "10m",
            "send.queue_lifetime": "30d", "send.warn_after": "0",
            "serve.command_timeout": "1h", "serve.data_timeout": "1h",
            "serve.session_timeout": "1d",
            "send.routes": ["good.test=[127.0.0.1]:%d" % good.port] + [
                "c%d.test=[127.0.0.1]:%d" % (i, h.port)
                for i, h in enumerate(hosts.values())]},
            env=clock_x100.env))
        begin = time.monotonic()
        with m.smtp() as s:
            for i, name in enumerate(SLOW):
                text = b"Subject: %d\r\n\r\n" % i
                text += b"x" * 70 + b"\r\n"
                text += (b"y" * 998 + b"\r\n") * 9000 * ("deaf" in name)
                s.sendmail("joe@here.test", ["u@c%d.test" % i], text)
            s.sendmail("joe@here.test", ["u@good.test"], b"Subject: g\r\n\r\n")
        until("the good host's mail", lambda: good.messages)
        seen = {}

        def all_put_off():
            for e in m.events(DEFER):
                seen.setdefault(e["to"], (e, time.monotonic() - begin))
            return len(seen) == len(SLOW)
        until("all are put off", all_put_off, 60)
        for i, (name, (_, limit)) in enumerate(SLOW.items()):
            event, took = seen["u@c%d.test" % i]
            assert "timed out" in event["reply"], (name, event)
            assert took >= 0.9 * limit / SPEED, (name, took)
        for h in hosts.values():
            with h.lock:
                h.answers.clear()
        until("all arrive", lambda: all(h.messages for h in hosts.values()),
              60)
        assert m.copies("joe", 0) == []
        for name, h in hosts.items():
            assert len(h.messages) == 1 and h.most == 1, name


@pytest.fixture
def clock_x100():
    with Clock(SPEED) as c:
        yield c
