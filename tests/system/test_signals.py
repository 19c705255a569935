"""Signals at any moment, and processes that hang: nobody else is harmed,
nothing is lost, and a stop ends in bounded time."""

import contextlib
import os
import random
import select
import signal
import socket
import time

import pytest

import traffic
from dnsserver import DnsServer
from harness import (DEADLINE, children_of, is_alive, send_signal, tree_of,
                     until)
from peer import Peer
from processes import fill_queue, find, is_pending, owner, roles, \
    send_one, signals, state_of, sysv_key, sysv_objects, workers

HARMLESS = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE,
            signal.SIGCHLD, signal.SIGALRM, signal.SIGWINCH, signal.SIGURG,
            signal.SIGSTOP]
FORCED = 30  # seconds; a service is killed one after stop_timeout


@pytest.fixture
def sink():
    s = traffic.Sink()
    s.start()
    s.ready.wait()
    return s


@pytest.fixture
def dns():
    with DnsServer(traffic.zones()) as d:
        yield d


def loaded(mta, sink, dns, **more):
    return mta("run", {"dns.servers": [dns.address], "send.port": sink.port,
                       "log.level": "info", "send.retry_max": "1s", **more})


def begin(m, seed, n=3, pause=0.02):
    clients = [traffic.Client(m, i, seed, traffic.ALL, pause)
               for i in range(n)]
    for c in clients:
        c.start()
    return clients


def end(clients):
    for c in clients:
        c.enough.set()
    for c in clients:
        c.join()


def settle(m, clients, sink):
    """Let all mail arrive, stop, count."""
    end(clients)
    until("queue empty", lambda: m.queued() == [], 60)
    assert m.stop() == 0
    a = traffic.Account(m, clients, sink)
    print(a)
    assert not a.lost and not a.damaged and not a.unlogged
    assert a.by["server"] == a.by["sender"] == 0
    assert a.by["client"] <= a.unknown_copies
    return a


# --- signals ----------------------------------------------------------------

def disturb(pid, signo, chance):
    send_signal(pid, signo)
    if signo == signal.SIGSTOP:
        time.sleep(chance.random() * 0.05)  # a hang of random length
        send_signal(pid, signal.SIGCONT)


@pytest.mark.parametrize("seed", [1, 2])
def test_storm_of_signals(mta, sink, dns, seed):
    """Whoever gets them: nobody dies, no client notices."""
    m = loaded(mta, sink, dns)
    workers(m)
    log = find(m, "log")
    seen = set()
    chance = random.Random(seed)
    clients = begin(m, seed)
    for _ in range(250):
        now = roles(m)
        seen.update(p for pids in now.values() for p in pids)
        name = chance.choice(sorted(now))
        signo = chance.choice(HARMLESS)
        if (name, signo) == ("supervisor", signal.SIGHUP):
            m.renew()
        else:
            disturb(chance.choice(now[name]), signo, chance)
        time.sleep(chance.random() * 0.02)  # a random moment
    assert find(m, "log") == log  # of the others there are new generations
    key = sysv_key(m)
    a = settle(m, clients, sink)
    assert a.unknown == 0 and len(a.acked) > 20
    assert m.events("serve.worker", state="died") == []
    assert m.errors() == ""
    assert not any(is_alive(p) for p in seen)
    assert sysv_objects(key) == []


# What is sent to the supervisor, one after the other.
STOPS = [[signal.SIGTERM], [signal.SIGINT],
         [signal.SIGTERM, signal.SIGTERM], [signal.SIGTERM, signal.SIGINT],
         [signal.SIGHUP, signal.SIGTERM], [signal.SIGTERM, signal.SIGHUP],
         [signal.SIGHUP, signal.SIGHUP, signal.SIGINT, signal.SIGTERM]]


@pytest.mark.parametrize("seed", [1, 2])
def test_stop_at_any_moment_loses_nothing(mta, sink, dns, seed):
    m = loaded(mta, sink, dns)
    chance = random.Random(seed)
    clients = begin(m, seed)
    for i in range(2 * len(STOPS)):
        key = None
        if m.process is None:
            m.start(wait=False)
        # From within the start to some time after it.
        time.sleep(chance.random() * chance.choice([0.02, 0.1, 0.4]))
        with contextlib.suppress(OSError, IndexError):
            key = sysv_key(m)
        family = tree_of(m.process.pid)
        stops = STOPS[i % len(STOPS)]
        for signo in stops[:-1]:
            if signo == signal.SIGHUP:
                m.renew()
            else:
                m.kill(signo)
            time.sleep(chance.random() * 0.03)  # within the reload or stop
            family += tree_of(m.process.pid)
        status = m.stop(stops[-1])
        # Before the first handler is set up the default ends it; under
        # nohup that of SIGHUP does not, so it may be any of them.
        assert -status in (0, *stops)
        until("all gone", lambda: not any(is_alive(p) for p in family))
        assert key is None or sysv_objects(key) == []
    m.start()
    settle(m, clients, sink)
    assert m.errors() == ""


# --- a worker that hangs ----------------------------------------------------

def crowd(m, n):
    """n connections, all begun at once."""
    socks = []
    for _ in range(n):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", m.port))
        socks.append(s)
    return socks


def greeted(socks, within):
    """Those of whom the server has said something by then."""
    done, by = set(), time.monotonic() + within
    while True:
        waiting = [s for s in socks if s not in done]
        left = max(0, by - time.monotonic())
        ready, _, _ = select.select(waiting, [], [], left)
        done.update(s for s in ready if s.recv(3, socket.MSG_PEEK) == b"220")
        if left == 0 or len(done) == len(socks):
            return done


@pytest.mark.parametrize("hangs", ["before they come", "while they come"])
def test_a_stuck_worker_takes_no_client_along(mta, hangs):
    """There is one listening socket for all workers: whom the stuck one has
    not yet accepted, another one will.  (With a socket for each, as
    SO_REUSEPORT makes them, it would keep every second client.)"""
    m = mta("run", {"serve.relay_networks": ["127.0.0.0/8"]})
    stuck = workers(m)[0]
    if hangs == "before they come":
        send_signal(stuck, signal.SIGSTOP)
    socks = crowd(m, 150)
    send_signal(stuck, signal.SIGSTOP)
    try:
        until("all others greeted", lambda: all(
            owner(m, s) == stuck for s in set(socks) - greeted(socks, 1)))
        if hangs == "before they come":
            assert len(greeted(socks, 0)) == len(socks)
        for _ in range(20):  # nor later
            start = time.monotonic()
            send_one(m)
            assert time.monotonic() - start < DEADLINE
    finally:
        send_signal(stuck, signal.SIGCONT)
    assert len(greeted(socks, 20)) == len(socks)
    for s in socks:
        s.close()


def first_word(m):
    with socket.create_connection(("127.0.0.1", m.port), timeout=30) as s:
        return s.recv(3)


def test_nobody_waits_for_the_room_of_a_stuck_worker(mta):
    """All others are full, and only the stuck one has room: a client hears
    421 instead of waiting for it."""
    m = mta("run", {"serve.workers": 2, "serve.max_clients": 3})
    stuck = workers(m)[0]
    send_signal(stuck, signal.SIGSTOP)
    try:
        inside = [m.raw() for _ in range(3)]
        assert all(owner(m, c.sock) != stuck for c in inside)
        assert first_word(m) == b"421"
    finally:
        send_signal(stuck, signal.SIGCONT)
    until("greeted by the one that had been stuck",
          lambda: first_word(m) == b"220")
    for c in inside:
        c.close()


def test_clients_of_a_stuck_worker_only_wait(mta):
    m = mta("run")
    held = {}
    while len(held) < 2:  # until each worker has one
        c = m.raw()
        c.say("EHLO client.test")
        held.setdefault(owner(m, c.sock), c)
    (stuck, waiting), (_, other) = held.items()
    send_signal(stuck, signal.SIGSTOP)
    try:
        waiting.send("MAIL FROM:<a@client.test>\r\n")
        send_one(m, "bob", other)
        assert select.select([waiting.sock], [], [], 0) == ([], [], [])
    finally:
        send_signal(stuck, signal.SIGCONT)
    assert waiting.reply()[0] == 250
    waiting.say("RSET")
    send_one(m, "ann", waiting)
    m.copies("ann")
    m.copies("bob")


@pytest.mark.slow
@pytest.mark.parametrize("names", [("worker", "send"), ("log",)])
def test_a_stop_ends_stuck_processes(mta, sink, dns, names):
    """What was under way is done after the next start."""
    m = loaded(mta, sink, dns)
    workers(m)
    find(m, "send")
    clients = begin(m, 0)
    until("mail", lambda: all(len(c.acked) > 5 for c in clients))
    now = roles(m)
    family = tree_of(m.process.pid)
    for name in names:
        send_signal(now[name][0], signal.SIGSTOP)
    m.kill(signal.SIGTERM)
    assert m.process.wait(FORCED) == 0
    until("all gone", lambda: not any(is_alive(p) for p in family))
    m.process = None
    end(clients)
    m.start()
    until("queue empty", lambda: m.queued() == [], 60)
    assert m.stop() == 0
    a = traffic.Account(m, clients, sink)
    print(a)
    assert not a.lost and not a.damaged and not a.unlogged
    assert a.by["server"] == 0 and a.by["client"] <= a.unknown_copies


# --- others that hang -------------------------------------------------------

def test_a_stuck_collector_loses_no_line(mta, sink, dns):
    """It delays mail when the queue of lines is full, and no longer."""
    m = loaded(mta, sink, dns)
    stuck = find(m, "log")
    workers(m)
    send_signal(stuck, signal.SIGSTOP)
    clients = begin(m, 0, pause=0)

    def acked():
        return sum(len(c.acked) for c in clients)
    try:
        until("mail", lambda: acked() > 20)
        assert not m.events("serve.accepted")
    finally:
        send_signal(stuck, signal.SIGCONT)
    before = acked()
    until("more", lambda: acked() > before + 200)
    a = settle(m, clients, sink)
    ids = [e["id"] for e in m.events("serve.accepted")]
    assert len(ids) == len(set(ids)) and a.unknown == 0
    assert m.errors() == ""


def collector_at_birth(m):
    """A stopped one that does not handle signals yet."""
    def newborn(known):
        """Looked for without a pause: its birth takes a few ms."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            for p in children_of(m.process.pid):
                if p not in known:
                    return p
        raise AssertionError("no other collector within %g s" % DEADLINE)

    def caught():
        known = children_of(m.process.pid)
        send_signal(find(m, "log"), signal.SIGKILL)
        new, early = newborn(known), True
        while early:  # it still has its parent's handlers
            send_signal(new, signal.SIGSTOP)
            if signal.SIGHUP in signals(new, "SigIgn"):  # the first it handles
                return new
            early = signal.SIGCHLD in signals(new, "SigCgt")
            send_signal(new, signal.SIGCONT)
        return None
    return until("a collector at birth", caught)


def test_a_stop_finds_the_collector_at_birth(mta):
    """It hears of the stop when it can write the last lines."""
    m = mta("run")
    send_one(m)
    key = sysv_key(m)
    born = collector_at_birth(m)
    ident = send_one(m)
    m.kill(signal.SIGTERM)
    until("the others have ended", lambda: children_of(m.process.pid) ==
          [born])
    until("it is told", lambda: is_pending(born, signal.SIGTERM))
    send_signal(born, signal.SIGCONT)
    assert m.stop() == 0
    assert m.events("serve.accepted", id=ident)
    assert sysv_objects(key) == [] and "serve." not in m.errors()


@pytest.mark.parametrize("reaped", ["with the others", "after the others"])
def test_collector_killed_during_a_stop_is_replaced(mta, reaped):
    m = mta("run", {"log.level": "info", "stop_timeout": "30s"})
    collector = find(m, "log")
    others = [find(m, "send"), find(m, "serve"), *workers(m)]
    c = m.raw()
    c.say("EHLO client.test")
    c.send("MAIL FROM:<a@client.test>\r\nRCPT TO:<ann@here.test>\r\n"
           "DATA\r\nSubject: x\r\n\r\nhalf\r\n")
    assert [c.reply()[0] for _ in range(3)] == [250, 250, 354]
    m.kill(signal.SIGTERM)
    # The sender ends at once, the worker waits for the other half.
    until("the sender's end", lambda: not is_alive(others[0]))
    if reaped == "after the others":
        m.kill(signal.SIGSTOP)
    os.kill(collector, signal.SIGKILL)
    until("the collector's end", lambda: not is_alive(collector))
    c.send("other half\r\n.\r\n")
    assert c.reply()[0] == 250
    c.close()
    until("the others' end", lambda: not any(is_alive(p) for p in others))
    if reaped == "after the others":
        m.kill(signal.SIGCONT)
    # No second signal: one in the middle of a sanitizer's leak check, at the
    # very end, can stop that for good.
    assert m.stop(0) == 0
    assert len(m.events("serve.accepted")) == 1
    assert len(m.events("serve.connect")) == len(m.events("serve.disconnect"))
    assert len(m.events("log.start")) == 2
    m.start()  # its delivery may have stopped before
    m.copies("ann")
    assert m.stop() == 0 and len(m.deliveries()) == 1


def test_who_waits_for_nothing_is_answered_before(mta):
    """While a worker waits for something on behalf of one client (here the
    log, which takes no more), the others have their answers already."""
    m = mta("run", {"serve.workers": 1})
    worker, stuck = workers(m)[0], find(m, "log")
    with m.raw() as one, m.raw() as other:
        for line in ("EHLO c.test", "MAIL FROM:<a@x.test>",
                     "RCPT TO:<joe@here.test>", "DATA"):
            assert one.say(line)[0] in (250, 354)
        send_signal(stuck, signal.SIGSTOP)
        try:
            fill_queue(m)
            send_signal(worker, signal.SIGSTOP)  # both in the same turn
            until("it stands", lambda: state_of(worker) == "T")
            one.send("Subject: s\r\n\r\nhi\r\n.\r\n")
            other.send("EHLO d.test\r\n")
            send_signal(worker, signal.SIGCONT)
            assert other.reply()[0] == 250
            assert not select.select([one.sock], [], [], 0.5)[0]
        finally:
            send_signal(worker, signal.SIGCONT)
            send_signal(stuck, signal.SIGCONT)
        assert one.reply()[0] == 250


@pytest.mark.parametrize("silent", ["GREETING", "EHLO", "RCPT", "DOT"])
def test_a_stuck_peer_stops_no_other_lane(mta, silent):
    """One thread has all lanes."""
    def say_nothing(session, line):
        session.file.read()  # until it hangs up
        return None
    zones = {"stuck.test": "@ A 127.0.0.1", "x.test": "@ A 127.0.0.2",
             "y.test": "@ A 127.0.0.3"}
    with Peer(answers={silent: say_nothing}) as stuck, \
            Peer("127.0.0.2", stuck.port) as x, \
            Peer("127.0.0.3", stuck.port) as y, DnsServer(zones) as dns:
        m = mta("run", {"dns.servers": [dns.address], "send.workers": 1,
                        "send.port": stuck.port})
        with m.smtp() as s:
            for i in range(40):
                s.sendmail("a@src.test", ["u@stuck.test", "u@x.test",
                                          "u@y.test"],
                           b"Subject: %d\r\n\r\nhi\r\n" % i)
        until("others", lambda: len(x.messages) == len(y.messages) == 40)
        assert stuck.most == 1 and not stuck.messages
        until("marked", lambda: {
            r["address"] for q in m.queued() for r in q["recipients"]
            if r["state"] != "delivered"} == {"u@stuck.test"})
