"""Clients that do not behave, seen from the server: after each of them its
descriptors are back, its memory is bounded, nothing of them is stored, and
the next honest message passes (docs/reliability.md, "Hostile peers")."""

import contextlib
import glob
import os
import re
import resource
import select
import socket
import struct
import time

import pytest

import processes
from harness import DEADLINE, MTA, UNDER_VALGRIND, Mta, until

SANITIZED = "/san-" in MTA  # they keep what is freed
STRANGERS = {"serve.relay_networks": ["192.0.2.0/24"]}
START = (b"EHLO client.test\r\nMAIL FROM:<a@client.test>\r\n"
         b"RCPT TO:<%s@here.test>\r\n")


class Watch:
    """A server, and what it looked like when nobody was there."""

    def __init__(self, settings=None, limit=None, workers=2):
        more = {"serve.workers": workers, "serve.command_timeout": "3s",
                "serve.data_timeout": "3s"}
        more.update(settings or {})
        self.mta = Mta("serve", more, limit=limit)
        self.n = 0
        try:
            self.workers = processes.workers(self.mta)
            self.honest()
            until("idle", lambda: self.sockets() == 0)
            self.base = self.descriptors()
        except BaseException:
            self.close()
            raise

    def links(self):
        for p in self.workers:
            for fd in os.listdir("/proc/%d/fd" % p):
                with contextlib.suppress(FileNotFoundError):
                    yield os.readlink("/proc/%d/fd/%s" % (p, fd))

    def sockets(self):
        """Connections; each worker has three more sockets: the two that
        listen, and the line to its master."""
        return sum(x.startswith("socket:") for x in self.links()) - \
            3 * len(self.workers)

    def descriptors(self):
        """Without segments, which a worker opens with its first message."""
        return sum(not x.endswith(".seg") for x in self.links())

    def rss(self):
        """KiB of the largest worker"""
        found = 0
        for p in self.workers:
            with open("/proc/%d/status" % p) as f:
                found = max([found] + [int(x.split()[1]) for x in f
                                       if x.startswith("VmRSS")])
        return found

    def honest(self, copies=1):
        """A message that must pass: to a mailbox of its own."""
        self.n += 1
        user = b"honest%d" % self.n
        with self.mta.raw() as c:
            ehlo, rest = (START % user).split(b"\r\n", 1)
            c.send(ehlo + b"\r\n")
            assert c.reply()[0] == 250
            c.send(rest + b"DATA\r\n")
            assert [c.reply()[0] for _ in range(3)] == [250, 250, 354]
            c.send(b"Subject: honest\r\n\r\nx\r\n.\r\nQUIT\r\n")
            assert [c.reply()[0] for _ in range(2)] == [250, 221]
        self.mta.copies(user.decode(), copies)

    def check(self, memory=64):
        """Nobody is there any more: is it as before?"""
        self.honest()
        until("descriptors back", lambda: self.descriptors() <= self.base)
        assert self.mta.copies("victim", 0) == []
        assert not os.path.exists(os.path.join(self.mta.mail, "victim",
                                               "tmp", "x"))
        assert glob.glob(os.path.join(self.mta.queue, "*", "*.new")) == []
        if not SANITIZED:
            assert self.rss() < memory * 1024

    def close(self):
        self.mta.__exit__(None)


@pytest.fixture(scope="module")
def watch():
    w = Watch({"serve.max_message_size": "1M", "serve.max_recipients": 50})
    yield w
    w.close()


@pytest.fixture
def new_watch():
    made = []

    def make(*args, **kwargs):
        made.append(Watch(*args, **kwargs))
        return made[-1]
    yield make
    for w in made:
        w.close()


def plug(m):
    s = socket.create_connection(("127.0.0.1", m.port), timeout=DEADLINE)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def hear_all(s):
    """Everything to the end of the connection, which may be a reset."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while True:
            more = s.recv(65536)
            if not more:
                break
            got += more
    return got


def codes(text):
    return [int(x) for x in re.findall(rb"(?m)^(\d{3})[ \r]", text)]


# --- going away -------------------------------------------------------------

STEPS = [b"", b"EH", b"LO client.test\r\n", b"MAIL FROM:<a@client", b".test>",
         b"\r\n", b"RCPT TO:<victim@here.test>\r\n",
         b"RCPT TO:<v@far.test>\r\n", b"DATA\r", b"\n", b"Subject: x\r\n",
         b"\r\nhalf a line", b" of text\r\n" + b"y" * 300000, b"\r\n", b".",
         b"\r"]


@pytest.mark.parametrize("how", [socket.socket.close, reset],
                         ids=["close", "reset"])
def test_gone_at_every_state(watch, how):
    for n in range(len(STEPS) + 1):
        s = plug(watch.mta)
        s.sendall(b"".join(STEPS[:n]))
        how(s)
    watch.check()


def test_gone_at_every_state_after_an_answer(watch):
    """The same, when the server has answered to all that was sent."""
    want = [1, 1, 2, 2, 2, 3, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6]
    for n, answers in enumerate(want):
        s = plug(watch.mta)
        s.sendall(b"".join(STEPS[:n + 1]))
        got = b""
        while len(codes(got)) < answers:
            got += s.recv(65536)
        reset(s)
    watch.check()


def test_half_closed_at_every_state(watch):
    """The end of what a client says is no reason not to answer it; what it
    did not finish is forgotten."""
    for n in range(len(STEPS) + 1):
        with plug(watch.mta) as s:
            s.sendall(b"".join(STEPS[:n]))
            s.shutdown(socket.SHUT_WR)
            got = codes(hear_all(s))
            assert got[:1] == [220] and set(got) <= {220, 250, 354}
    with plug(watch.mta) as s:
        watch.n += 1
        s.sendall(START % b"half%d" % watch.n +
                  b"DATA\r\n\r\nx\r\n.\r\n")
        s.shutdown(socket.SHUT_WR)
        assert codes(hear_all(s)) == [220, 250, 250, 250, 354, 250]
    watch.mta.copies("half%d" % watch.n)
    watch.check()


# --- slow, silent, deaf -----------------------------------------------------

def drip_until_end(sockets, text, limit):
    """An octet to each now and then; how long each lasted."""
    begin, ends = time.monotonic(), {}
    i = 0
    while len(ends) < len(sockets):
        assert time.monotonic() < begin + limit
        for s in sockets:
            if s in ends:
                continue
            try:
                s.send(text[i % len(text):i % len(text) + 1])
                readable, _, _ = select.select([s], [], [], 0)
                if readable and not s.recv(65536):
                    raise ConnectionError
            except ConnectionError:
                ends[s] = time.monotonic() - begin
        i += 1
        time.sleep(0.1)  # this is what slow means
    return ends.values()


@pytest.mark.parametrize("state,text", [
    (b"", b"X"), (b"EHLO client.test\r\n", b"RSET\r\n"),
    (START % b"victim" + b"DATA\r\n", b"text\r\n")],
    ids=["command line", "commands", "message"])
def test_slow_for_ever(new_watch, state, text):
    """An octet at a time keeps every other deadline at bay but that of the
    session."""
    w = new_watch({"serve.session_timeout": "3s"})
    slow = [plug(w.mta) for _ in range(20)]
    for s in slow:
        s.sendall(state)
    for took in drip_until_end(slow, text, DEADLINE):
        assert 2 < took < DEADLINE
    for s in slow:
        s.close()
    w.check()


def test_silent_at_every_state(new_watch):
    w = new_watch({"serve.command_timeout": "1s", "serve.data_timeout": "1s"})
    silent = []
    for n in range(len(STEPS) + 1):
        silent.append(plug(w.mta))
        silent[-1].sendall(b"".join(STEPS[:n]))
    for s in silent:
        assert codes(hear_all(s))[-1] == 421
        s.close()
    w.check()


def test_never_reads(watch):
    """Sends commands and does not read the answers: the server stops reading
    too, keeps no more than its bound, and ends the session by its timeout."""
    deaf = []
    before = len(watch.mta.events("serve.reject", code="421"))
    for _ in range(30):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", watch.mta.port))
        s.sendall(b"EHLO client.test\r\n")
        s.setblocking(False)
        deaf.append(s)
    sent = dict.fromkeys(deaf, 0)

    def all_full():
        moved = False
        for s in deaf:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                for _ in range(64):
                    sent[s] += s.send(b"RSET\r\n" * 10000)
                    moved = True
        return not moved
    until("all are stuck", all_full)
    if not SANITIZED:
        assert watch.rss() < 64 * 1024
    watch.honest()
    until("the sessions time out", lambda: len(watch.mta.events(
        "serve.reject", code="421")) >= before + len(deaf))
    for s in deaf:
        s.close()
    watch.check()


# --- too much ---------------------------------------------------------------

@pytest.mark.parametrize("state,text,answer", [
    (b"", b"x" * 65536, [500]),
    (b"EHLO client.test\r\nMAIL FROM:<", b"a" * 65536, [250, 500]),
    (START % b"victim" + b"DATA\r\n", b"y" * 65536, [250] * 3 + [354, 552]),
    (START % b"victim" + b"DATA\r\n", b"\r\n" * 32768, [250] * 3 + [354, 552]),
    (START % b"victim" + b"DATA\r\n", b"\r" * 65536, [250] * 3 + [354, 550]),
    (START % b"victim" + b"DATA\r\n", b"\0" * 65536, [250] * 3 + [354, 552]),
], ids=["line", "address", "line of text", "blank lines", "CRs", "NULs"])
def test_endless(watch, state, text, answer):
    with plug(watch.mta) as s:
        s.sendall(state)
        for _ in range(200):  # 13 MB
            s.sendall(text)
        if not SANITIZED:
            assert watch.rss() < 64 * 1024
        s.sendall(b"\r\n.\r\nQUIT\r\n")
        got = codes(hear_all(s))
    assert got[1:len(answer) + 1] == answer
    watch.check()


def test_flood_of_commands(watch):
    with plug(watch.mta) as s:
        s.sendall(b"EHLO client.test\r\n")
        n, got = 50000, b""
        text = memoryview(b"RSET\r\n" * n + b"QUIT\r\n")
        s.setblocking(False)
        while got[-2:] != b"\r\n" or b"\r\n221 " not in got[-60:]:
            r, w, _ = select.select([s], [s] if text else [], [], DEADLINE)
            assert r or w
            if w:
                text = text[s.send(text[:65536]):]
            if r:
                got += s.recv(1 << 20)
    assert codes(got) == [220, 250] + [250] * n + [221]
    watch.check()


def test_flood_of_recipients(watch):
    """2000 for a server that takes 50: these get the message."""
    with watch.mta.raw() as c:
        c.send("EHLO client.test\r\nMAIL FROM:<a@client.test>\r\n")
        assert [c.reply()[0] for _ in range(2)] == [250, 250]
        c.send("".join("RCPT TO:<many%d@here.test>\r\n" % i
                       for i in range(2000)) + "DATA\r\n")
        got = [c.reply()[0] for _ in range(2001)]
        assert got == [250] * 50 + [452] * 1950 + [354]
        assert c.say("\r\nx\r\n.")[0] == 250
    watch.mta.settle()
    assert len([u for u in os.listdir(watch.mta.mail)
                if u.startswith("many")]) == 50
    watch.check()


PARAMETERS = [
    ("X=" + "y" * 1900, 555), (" ".join("A%d" % i for i in range(16)), 555),
    (" ".join("A%d" % i for i in range(17)), 501),
    (" ".join("A%d" % i for i in range(400)), 501),
    ("SIZE=" + "9" * 20, 501), ("SIZE=18446744073709551615", 552),
    ("SIZE=18446744073709551616", 501), ("SIZE=" + "9" * 1000, 501),
    ("SIZE=-1", 501), ("SIZE=0x10", 501), ("SIZE=", 501), ("SIZE", 501),
    ("=", 501), ("= =", 501), ("BODY", 501), ("SMTPUTF8=1", 555),
    ("SIZE=1 SIZE=2 SIZE=3", 501), (" " * 1900, 250),
]


@pytest.mark.parametrize("text,code", PARAMETERS,
                         ids=[p[0][:20] for p in PARAMETERS])
def test_parameters(watch, text, code):
    with watch.mta.raw() as c:
        c.say("EHLO client.test")
        assert c.say("MAIL FROM:<a@client.test> " + text)[0] == code


# --- too many ---------------------------------------------------------------

def greetings(sockets, want, limit=DEADLINE):
    """First replies of as many as answer; the rest waits in the backlog."""
    got, end = {}, time.monotonic() + limit
    poll = select.poll()
    by_fd = {s.fileno(): s for s in sockets}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    while len(got) < want:
        assert time.monotonic() < end, len(got)
        for fd, _ in poll.poll(100):
            poll.unregister(fd)
            try:
                got[by_fd[fd]] = by_fd[fd].recv(4)[:3]
            except ConnectionError:
                got[by_fd[fd]] = b""
    return got


def crowd(m, n, source=None):
    made = []
    for i in range(n):
        s = socket.socket()
        if source is not None:
            s.bind((source(i), 0))
        s.connect(("127.0.0.1", m.port))
        made.append(s)
    return made


def test_more_than_there_is_room_for(new_watch):
    """1500 at once for 2 x 300 places: the others hear 421, and the house is
    open again when they are gone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    w = new_watch({"serve.max_clients": 300, "serve.command_timeout": "60s"})
    begin = time.monotonic()
    all_of_them = crowd(w.mta, 1500)
    got = greetings(all_of_them, 1500)
    assert sorted(set(got.values())) == [b"220", b"421"]
    assert sum(x == b"220" for x in got.values()) == 600
    assert time.monotonic() - begin < DEADLINE
    if not SANITIZED:
        assert w.rss() < 64 * 1024
    for s in all_of_them:
        s.close()
    until("room", lambda: w.sockets() == 0)
    w.check()


def test_more_than_one_address_may(new_watch):
    """Of three addresses 30 each, where 10 may: others are not kept out."""
    w = new_watch(dict(STRANGERS, **{"serve.max_clients_per_ip": 10,
                                     "serve.command_timeout": "60s"}))
    all_of_them = crowd(w.mta, 90, lambda i: "127.0.9.%d" % (1 + i % 3))
    got = greetings(all_of_them, 90)
    for i in range(3):
        mine = [got[s] for s in all_of_them[i::3]]
        # two workers may count at the same moment
        assert 10 <= mine.count(b"220") <= 11, mine
        assert mine.count(b"220") + mine.count(b"421") == 30
    w.honest()
    for s in all_of_them:
        s.close()
    w.check()


@pytest.mark.skipif(UNDER_VALGRIND, reason="it takes descriptors of its own")
@pytest.mark.parametrize("limit", [40, 200])
def test_no_descriptors_left(new_watch, limit):
    """Clients cannot take the descriptors that their mail needs."""
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    w = new_watch({"serve.command_timeout": "60s"}, limit=few, workers=1)
    until("logged", lambda: w.mta.events("serve.limits"))
    with w.mta.raw() as early:
        others = crowd(w.mta, limit + 50)
        got = greetings(others, limit + 50)
        assert b"220" in got.values() and b"421" in got.values()
        early.send(START % b"early" + b"DATA\r\n")
        assert [early.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
        # small and in memory, then one that needs a file of its own
        assert early.say("\r\nx\r\n.")[0] == 250
        early.send(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<v@far.test>\r\n"
                   b"RCPT TO:<early@here.test>\r\nDATA\r\n")
        assert [early.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
        early.send(b"\r\n" + b"x" * 70 + b"\r\n")
        assert early.say("y" * 400000 + "\r\n.")[0] == 250
        w.mta.copies("early", 2)
    for s in others:
        s.close()
    until("room", lambda: w.sockets() == 0)
    w.honest()


# --- what others get to read ------------------------------------------------

def test_terminals_are_not_steered(new_watch):
    """Controls of seven and eight bits in addresses reach neither who lists
    the queue nor the log."""
    w = new_watch()
    evil = ("MAIL FROM:<\u009b31m\u202e@client.test> SMTPUTF8\r\n"
            "RCPT TO:<\u009d0x\u009c\u0085@far.test>\r\nDATA\r\n")
    with w.mta.raw() as c:
        c.send("EHLO \u009b2J\r\n" + evil)
        assert [c.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
        assert c.say("\r\nx\r\n.")[0] == 250
    for args in (["queue", "list"], ["queue", "list", "--json"],
                 ["queue", "show", w.mta.queued()[0]["id"]]):
        out = w.mta.tool(*args).stdout
        assert not re.search("[\0-\x09\x0b-\x1f\x7f-\x9f\u202e]",
                             out.decode()), out
    until("log", lambda: os.path.exists(w.mta.stderr))
    with open(w.mta.stderr, "rb") as f:
        said = f.read().decode()
    assert not re.search("[\0-\x09\x0b-\x1f\x7f-\x9f\u202e]", said)
