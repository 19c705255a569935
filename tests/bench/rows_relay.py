"""Rows: mail that leaves again, to sinks of ours."""

import contextlib
import itertools
import time

import compare
import dnsserver
import tools
from peer import Peer
from peers import NEXT_HOP
from place import DNS
from row import Goal, Row, quiet
from rows_accept import cpu

HOSTS = "127.1.0.1-127.1.0.100"  # the hundred MX hosts
SLOW = "127.2.0.1-127.2.0.9"     # hosts that think before they answer
NEAR = "127.0.0.3"               # the near end of a long line to NEXT_HOP
BAD = ["127.3.0.%d" % (i + 1) for i in range(40)]


@contextlib.contextmanager
def names():
    """A name server with d0 to d99.mx.test, an MX host each, and domains of
    slow hosts: one host; four of equal preference; one of four addresses;
    bad0 to bad39.mx.test, the bad hosts."""
    text = ""
    for i in range(100):
        text += "d%d MX 10 h%d\nh%d A 127.1.0.%d\n" % (i, i, i, i + 1)
    text += "slow MX 10 s1\ns1 A 127.2.0.1\n"
    for i, host in enumerate(BAD):
        text += "bad%d MX 10 b%d\nb%d A %s\n" % (i, i, i, host)
    for i in range(2, 6):
        text += "many MX 10 s%d\ns%d A 127.2.0.%d\n" % (i, i, i)
    text += "wide MX 10 sw\n" + "".join("sw A 127.2.0.%d\n" % i
                                        for i in range(6, 10))
    zones = {"mx.test": text,
             "127.in-addr.arpa": "1.0.0 PTR localhost."}
    with dnsserver.DnsServer(zones, host=DNS, port=53) as dns:
        yield dns


def silent(session, _line):
    """Reads and never replies."""
    while session.sock.recv(65536):
        pass


@contextlib.contextmanager
def bad_hosts():
    """Each does one wrong thing at one step, to each message; the hosts that
    are left over refuse the connection."""
    steps = ("GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DOT")
    wrong = ("450 4.2.0 not now", "421 4.3.0 not now", None, "nonsense",
             silent)
    with contextlib.ExitStack() as stack:
        for host, (step, reply) in zip(BAD, itertools.product(steps, wrong)):
            stack.enter_context(Peer(host, 25, {step: reply}))
        yield


def wait_idle(sink):
    """No more mail comes: what a peer had before us is through."""
    seen = [-1, time.monotonic()]

    def still():
        n = sink.ask()["messages"]
        if n != seen[0]:
            seen[:] = [n, time.monotonic()]
        return time.monotonic() - seen[1] > 0.3
    tools.harness.until("sink quiet", still, 60)


def sockets(seen):
    """The most at a time, of hosts that got something (others may still be
    connected from the work before)."""
    return min(seen["most_open"], sum(a["most_open"] for a in
                                      seen["addresses"] if a["messages"]))


class Relay(Row):
    section, who = "Sending", ("mta", "postfix", "exim", "opensmtpd")
    untuned, compared = ("postfix", "opensmtpd"), compare.RATES
    listen, flags = NEXT_HOP, ()
    conns, rcpts, users = 20, 1, 0
    to = "user%d@elsewhere.test"
    dns = False
    fixed = None      # so many messages, always
    first = 100       # to learn how fast it is
    unit = "messages"

    def __init__(self, name, title, **over):
        self.name, self.title = name, title
        self.__dict__.update(over)

    @contextlib.contextmanager
    def surroundings(self):
        with contextlib.ExitStack() as stack:
            if self.dns:
                stack.enter_context(names())
            yield stack.enter_context(tools.Sink(self.listen, *self.flags))

    def through(self, peer, sink, n):
        """n messages to the sink; (seconds until the last, its status)."""
        sink.reset()
        said = tools.load(peer.port, min(self.conns, n), n, rcpts=self.rcpts,
                          to=self.to, users=self.users)
        seen = sink.wait("recipients", n * self.rcpts)
        return seen["last"] - said["begin"], seen

    def measure(self, peer, sink, plan):
        sparse = not peer.tuned and peer.name == "opensmtpd"
        n = 20 if sparse else (self.fixed or 0) * plan.times or self.first
        if self.fixed is None or plan.messages:
            took, _ = self.through(peer, sink, n)
            n = plan.count(n / took, least=n)
        wait_idle(sink)
        before, _ = quiet(peer.group)
        took, seen = self.through(peer, sink, n)
        # What it does once a second, too: marks, the queue's clearing.
        after, _ = quiet(peer.group, least=1.2)
        units = n * self.rcpts
        return {"rate": units / took, "sockets": sockets(seen),
                "cpu_us": (after - before) * 1e6 / units, "messages": n,
                "extra": sink.ask()["recipients"] - units}


class LongLine(Row):
    """Messages a round trip on one socket, over a line of 25 ms each way."""
    section, mode, who = "Sending, special cases", "relay", ("mta",)
    more = {"next_hop": NEAR}
    trip = 0.05

    shows = [("a_trip", "messages a round trip", "", 2),
             ("sockets", "sockets", "", 0)]

    def __init__(self, name, title, flags, least):
        self.name, self.title, self.flags = name, title, flags
        self.goals = [Goal("a_trip", ">=", least, "messages"),
                      Goal("sockets", "==", 1, "socket")]

    @contextlib.contextmanager
    def surroundings(self):
        with tools.Sink(NEXT_HOP, *self.flags) as sink, \
                tools.Delay(NEAR, NEXT_HOP):
            yield sink

    def measure(self, peer, sink, plan):
        # The first few say little of a rate when many share a round trip.
        first = self.through(peer, sink, 20)
        n = plan.count(first["a_trip"] / self.trip, least=60, most=3000)
        return self.through(peer, sink, n)

    def through(self, peer, sink, n):
        sink.reset()
        tools.load(peer.port, 20, n)
        seen = sink.wait("messages", n)
        took = seen["last"] - seen["first"]
        return {"a_trip": (n - 1) / took * self.trip,
                "sockets": sockets(seen)}


class SlowHop(Row):
    """A host that takes 100 ms over each answer, alone and beside others, and
    these others beside bad ones."""
    name, section, mode = "slow", "Sending, special cases", "mx"
    slow = True
    title = "next hops that take 100 ms over each final answer"
    who, rounds = ("mta",), 3
    shows = [
        ("slow", "one host", "messages a second", 1),
        ("slow_sockets", "one host, sockets", "", 0),
        ("many", "four MX hosts of equal preference", "messages a second", 1),
        ("many_sockets", "the same, sockets in all", "", 0),
        ("wide", "one host with four addresses", "messages a second", 1),
        ("wide_sockets", "the same, sockets in all", "", 0),
        ("alone", "100 other hosts while nothing is slow",
         "messages a second", 0),
        ("beside", "100 other hosts while 400 messages wait for the slow one "
         "and as many for 40 bad ones", "messages a second", 0),
        ("beside_share", "the second of these over the first", "", 2),
    ]
    goals = [Goal("slow", ">=", 9.5, "a second"),
             Goal("slow_sockets", "==", 1, "socket"),
             Goal("many", ">=", 38, "a second"),
             Goal("many_sockets", "==", 4, "sockets"),
             Goal("wide", ">=", 38, "a second"),
             Goal("wide_sockets", "==", 4, "sockets"),
             Goal("beside_share", ">=", 0.9, "")]

    @contextlib.contextmanager
    def surroundings(self):
        with names(), bad_hosts(), tools.Sink(SLOW, "-d", "100") as slow, \
                tools.Sink(HOSTS) as fast:
            yield slow, fast

    def rate(self, peer, sink, to, n):
        sink.reset()
        tools.load(peer.port, 20, n, to=to)
        seen = sink.wait("messages", n)
        return (n - 1) / (seen["last"] - seen["first"]), sockets(seen)

    def fast(self, peer, sink):
        n = 3000
        sink.reset()
        said = tools.load(peer.port, 20, n, to="user@d%d.mx.test", users=100)
        return n / (sink.wait("messages", n)["last"] - said["begin"])

    def measure(self, peer, env, plan):
        slow, fast = env
        got = {}
        # The end of the round before left it in the middle of a pause, when
        # it does not see that its client is gone.
        tools.harness.until("clients of the last round gone",
                            lambda: slow.ask()["open"] == 0)
        for name, n in (("slow", 30), ("many", 120), ("wide", 120)):
            got[name], got[name + "_sockets"] = self.rate(
                peer, slow, "user%%d@%s.mx.test" % name, n)
        self.fast(peer, fast)  # names are known, sessions are there
        got["alone"] = self.fast(peer, fast)
        slow.reset()
        tools.load(peer.port, 20, 400, to="user%d@slow.mx.test")
        tools.load(peer.port, 20, 400, to="user@bad%d.mx.test",
                   users=len(BAD))
        got["beside"] = self.fast(peer, fast)
        got["beside_share"] = got["beside"] / got["alone"]
        assert slow.ask()["messages"] < 400, "the slow host was not slow"
        return got


def x_best(n):
    return Goal("x_best", ">=", n)


ROWS = [
    Relay("relay-one", "accept + relay to one next hop, 1 KiB, 20 connections "
          "kept", mode="relay",
          goals=[Goal("x_postfix", ">=", 8), cpu(150, 1490),
                 Goal("sockets", "==", 1, "socket")]),
    Relay("relay-100", "accept + relay to 100 MX hosts, 1 KiB, 20 connections "
          "kept", mode="mx", dns=True, listen=HOSTS, users=100, first=200,
          to="user@d%d.mx.test",
          goals=[x_best(8), cpu(170, 1650),
                 Goal("sockets", "==", 100, "sockets in all")]),
    Relay("fan-out", "30 messages of 100 recipients in 100 domains, "
          "recipients a second", mode="mx", dns=True, listen=HOSTS, rcpts=100,
          fixed=30, rounds=3, to="user%d@d%r.mx.test", goals=[x_best(8)]),
    LongLine("line", "relay to one next hop over a line of 25 ms each way, "
             "PIPELINING", [], 0.95),
    LongLine("line-bdat", "the same, CHUNKING offered", ["-b"], 20),
    SlowHop(),
]
