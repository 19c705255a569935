"""Scripted hosts and a queue that is full before the sender starts: what the
tests of "whose fault is it?" have in common.

Message n is from <sN@src.test> to <uN@x.test> (or uN.K for its recipient K) with
"Subject: nN", so that a host can choose by any command which message it is
unkind to, and a test see in the queue what that cost whom.
"""

import re
import signal
import socket
import threading
import time

import pytest

from dnsserver import DnsServer
from harness import until
from peer import DEFAULTS, Peer

PLAIN = ("PIPELINING", "8BITMIME", "SIZE 100000000", "ENHANCEDSTATUSCODES")
CHUNKING = PLAIN + ("CHUNKING",)
ZONES = {
    "x.test": "@ MX 10 a\na A 127.0.0.1",
    "two.test": "@ MX 10 a\n@ MX 20 b\na A 127.0.0.1\nb A 127.0.0.2",
    "equal.test": "@ MX 10 a\n@ MX 10 b\na A 127.0.0.1\nb A 127.0.0.2",
    "far.test": "@ MX 10 a\n@ MX 20 b\na A 127.0.0.9\nb A 127.0.0.2",
    "addresses.test": "@ MX 10 a\na A 127.0.0.9\na A 127.0.0.2",
    "away.test": "@ MX 10 a\na A 127.0.0.9",
    "hub.test": "hub A 127.0.0.1",
    "null.test": "@ MX 0 .",
}


def number_of(session, verb, line):
    """Of the message that a command is about; None: of none."""
    text = line if verb in ("MAIL", "RCPT") else session.sender
    found = re.search(r"<[su](\d+)", text) if isinstance(text, str) else None
    return int(found.group(1)) if found else None


def at(where, answer, of=lambda n: True):
    """Answers of a host that gives this one at a command of those messages.
    "dot" is the end of the text, however it was sent."""
    if where == "dot":
        return dict(at("DOT", answer, of), **at("BDAT", answer, of))

    def reply(session, line):
        n = number_of(session, where, line)
        if where in ("MAIL", "RCPT", "DATA", "DOT", "BDAT"):
            if n is None or not of(n):
                return DEFAULTS[where]
        return answer(session, line) if callable(answer) else answer
    return {where: reply}


def silent(session, _line):
    while session.file.read(1):
        pass


def steps(*where):
    """Each step by DATA and by BDAT, which has no reply to DATA."""
    return pytest.mark.parametrize("where,extensions", [
        pytest.param(w, x, id="%s by %s" % (w, way))
        for w in where for way, x in (("DATA", PLAIN), ("BDAT", CHUNKING))
        if w != "DATA" or x is PLAIN])


class Host(Peer):
    """Keeps, in order, what it saw, and when: ("offered", n) at MAIL,
    ("taken", n)."""

    def __init__(self, *args, **kwargs):
        self.seen, self.when, self.connected = [], [], []
        super().__init__(*args, **kwargs)

    def saw(self, what, n):
        with self.lock:
            self.seen.append((what, n))
            self.when.append(time.monotonic())

    def answer(self, verb, session, line):
        if verb == "GREETING":
            self.connected.append(time.monotonic())
        elif verb == "MAIL":
            self.saw("offered", number_of(session, verb, line))
        elif verb == "RCPT" and session.sender is None:
            return "503 5.5.1 no MAIL"
        return super().answer(verb, session, line)

    def keep(self, message):
        self.saw("taken", int(re.search(rb"Subject: n(\d+)\r",
                                        message.data).group(1)))
        super().keep(message)

    def taken(self):
        with self.lock:
            return [n for what, n in self.seen if what == "taken"]

    def offered(self):
        with self.lock:
            return [n for what, n in self.seen if what == "offered"]

    def recover(self):
        with self.lock:
            self.answers.clear()


def verbs(session):
    return [x.split()[0] for x in session.lines if x.strip()]


class FailingServer:
    """A name server with the same answer to every question."""

    def __init__(self, what):
        self.code = {"SERVFAIL": 2, "REFUSED": 5}.get(what)
        self.what = what
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            question, client = self.socket.recvfrom(4096)
            if not question:
                return
            if self.what == "bogus":
                self.socket.sendto(question[:2] + b"\x80\xff bogus", client)
            elif self.what != "silence":
                self.socket.sendto(question[:2] + bytes(
                    [0x80 | question[2], 0x80 | self.code]) + question[4:],
                    client)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.socket.getsockname())
        self.thread.join(10)
        self.socket.close()


class Scene:
    """A host, or one for each preference, and a system whose mail goes there.
    Nothing is tried again before the test asks for it, unless the settings
    have other waits."""

    def __init__(self, mta, dns, answers=None, extensions=PLAIN, second=None,
                 domain="x.test", env=None, tls=None, second_tls=None,
                 **settings):
        self.domain = domain
        self.host = Host(answers=answers, extensions=extensions, tls=tls)
        self.hosts = [self.host]
        if second is not None:
            self.hosts.append(Host("127.0.0.2", self.host.port,
                                   answers=second, extensions=extensions,
                                   tls=second_tls))
        more = {"dns.servers": [dns.address], "send.port": self.host.port,
                "serve.workers": 1,
                "local.domains": ["here.test", "src.test"],  # notices stay here
                "send.retry_min": "1h",
                "send.retry_max": "1h", "send.warn_after": "0"}
        if env:  # its clock is fast, and the name server's is not
            more.update({"dns.timeout": "60s", "send.session_linger": "1m"})
        more.update({k.replace("__", "."): v for k, v in settings.items()})
        self.m = mta("serve", more, env=env)

    def submit(self, numbers, rcpts=1, domain=None):
        to = "@" + (domain or self.domain)
        with self.m.smtp() as s:
            for n in numbers:
                names = ["u%d%s" % (n, to)] if rcpts == 1 else [
                    "u%d.%d%s" % (n, k, to) for k in range(rcpts)]
                s.sendmail("s%d@src.test" % n, names,
                           b"Subject: n%d\r\n\r\nhi\r\n" % n)

    def fill(self, numbers, **how):
        """Put messages into the queue before there is a sender."""
        self.submit(numbers, **how)
        self.m.stop()
        self.m.command = "run"
        self.m.start()

    def waiting(self):
        """{number: its recipients} of what is in the queue."""
        found = {}
        for q in self.m.queued():
            n = re.match(r"s(\d+)@", q["sender"])
            if n:
                found.setdefault(int(n.group(1)), []).extend(
                    q["recipients"])
        return found

    def counts(self):
        """{number: (attempts, rounds)} of what is in the queue."""
        return {n: (sum(r["attempts"] for r in rs),
                    sum(r["rounds"] for r in rs))
                for n, rs in self.waiting().items()}

    def until_counts(self, what, expected):
        """The queue comes to hold exactly these messages, with that."""
        until(what, lambda: self.counts() == expected or None)

    def until_taken(self, what, numbers, host=None):
        host = host or self.host
        until(what, lambda: set(numbers) <= set(host.taken()))

    def losses(self, name):
        """Numbers of the messages of that event in the log."""
        return sorted(int(re.match(r"u(\d+)", e["to"]).group(1))
                      for e in self.m.events(name)
                      if re.match(r"u\d+", e["to"]))

    def recover(self, numbers=()):
        """All hosts become honest; everything arrives that did not, once."""
        for h in self.hosts:
            h.recover()

        def told():
            self.m.kill(signal.SIGUSR1)
            return not self.waiting()
        until("all is settled", told)
        taken = sum((h.taken() for h in self.hosts), [])
        assert sorted(taken) == sorted(numbers), taken
        assert [h.most for h in self.hosts] == [
            min(1, len(h.sessions)) for h in self.hosts]

    def close(self):
        for h in self.hosts:
            h.close()


def scenes(mta, dns):
    """A fixture's body: scene(...) makes them."""
    made = []

    def make(*args, **kwargs):
        made.append(Scene(mta, dns, *args, **kwargs))
        return made[-1]
    yield make
    for s in made:
        s.close()


def name_server():
    return DnsServer(ZONES)
