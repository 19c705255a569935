"""Rows: the same work over TLS, and signed.  All servers and sinks have one
certificate (P-256); mta and Postfix measure their own CPU in clear in the same
server, so that a ratio needs no other row."""

import contextlib
import re
import subprocess

import place
import tools
from peers import NEXT_HOP, SIGNED
from row import Goal, Row, quiet
from rows_accept import Accept, x_postfix
from rows_relay import HOSTS, LongLine, NEAR, Relay, names, wait_idle

CLEAR_HOP = "127.0.0.4"   # a next hop without TLS
FAR_HOSTS = "127.4.0.1"   # and 99 more: the hundred behind long lines
BARE_PORT = 2526


def x_clear(n):
    return Goal("x_clear", "<=", n)


class AcceptTls(Accept):
    """Sessions kept, for so many messages that their handshakes do not count;
    then the same in clear, for its CPU."""
    section, syncs, compared = "Over TLS", False, ()
    who = ("mta", "postfix", "exim")
    least_of_mta = 20000
    more = {"serve_tls": True}
    tls = "S"

    def load(self, peer, n):
        return tools.load(peer.port, self.conns, n, self.kib * 1024,
                          self.keep, self.pipeline, to=self.to,
                          users=self.users, tls=self.tls)

    def measure(self, peer, env, plan):
        self.least = self.least_of_mta if peer.name == "mta" else 100
        got = super().measure(peer, env, plan)
        if peer.name == "mta":
            secret, self.tls = self.tls, ""
            clear = super().measure(peer, env, plan)
            self.tls = secret
            got["x_clear"] = got["cpu_us"] / clear["cpu_us"]
        return got


class Handshakes(AcceptTls):
    """A session for each message, and a server that does nothing but shake
    hands, with the same generator."""

    def bare(self, peer, n):
        """Its CPU a handshake."""
        both = peer.place.certificate_and_key()
        with tools.Bare(BARE_PORT, both) as server:
            tools.load(BARE_PORT, self.conns, n, keep=False,
                       tls=self.tls + "H")
            return server.end()["own_cpu_us"]

    def measure(self, peer, env, plan):
        got = Accept.measure(self, peer, env, plan)
        if peer.name == "mta":
            got["bare_us"] = self.bare(peer, got["messages"])
            got["over_bare"] = got["cpu_us"] - got["bare_us"]
        return got


class RelayTls(Relay):
    """Over TLS; mta then the same to a hop without."""
    section, untuned, compared = "Over TLS", (), ()
    more = {"send_tls": "encrypt"}
    clear = None  # a sink

    @contextlib.contextmanager
    def surroundings(self):
        with contextlib.ExitStack() as stack:
            if self.dns:
                stack.enter_context(names())
            both = place.Place.current.certificate_and_key()
            yield stack.enter_context(
                tools.Sink(self.listen, "-C", both, *self.flags))

    def through(self, peer, sink, n):
        self.shaken += sink.ask()["handshakes"]  # it counts anew
        took, seen = super().through(peer, sink, n)
        assert sink is self.clear or seen["secured"] == seen["messages"]
        return took, seen

    def measure(self, peer, sink, plan):
        sink.reset()
        self.shaken = 0
        got = super().measure(peer, sink, plan)
        got["handshakes"] = self.shaken + sink.ask()["handshakes"]
        return got


class RelayTlsOne(RelayTls):
    """And to a hop in clear, by a route, for its CPU."""
    more = {"send_tls": "may",
            "routes": ["clear.test=[%s]:25" % CLEAR_HOP]}

    @contextlib.contextmanager
    def surroundings(self):
        with super().surroundings() as sink, \
                tools.Sink(CLEAR_HOP) as self.clear:
            yield sink

    def measure(self, peer, sink, plan):
        got = super().measure(peer, sink, plan)
        if peer.name == "mta":
            to, self.to = self.to, "user%d@clear.test"
            clear = super().measure(peer, self.clear, plan)
            self.to = to
            got["x_clear"] = got["cpu_us"] / clear["cpu_us"]
        return got


class IdleTls(Row):
    name, section, mode = "idle-tls", "Over TLS, special cases", "hold"
    title = "1,000 idle TLS sessions"
    more, rounds = {"limit": 1200, "serve_tls": True}, 3
    who = ("mta", "postfix", "exim")
    shows = [("kib", "private memory each", "KiB", 2),
             ("held", "sessions that have said EHLO", "", 0)]
    goals = [Goal("kib", "<=", 24, "KiB"), Goal("held", ">=", 1000, "")]

    def measure(self, peer, env, plan):
        tools.load(peer.port, 20, 200)
        quiet(peer.group, share=0.2)
        before, _ = peer.group.memory()
        with tools.idle(peer.port, 1000, "-e", "-S", seconds=100) as said:
            quiet(peer.group, share=0.2)
            after, _ = peer.group.memory()
        return {"kib": (after - before) / 1024 / max(1, said["greeted"]),
                "held": said["greeted"]}


class LongLineTls(LongLine):
    section = "Over TLS, special cases"
    more = {"next_hop": NEAR, "send_tls": "encrypt"}

    @contextlib.contextmanager
    def surroundings(self):
        both = place.Place.current.certificate_and_key()
        with tools.Sink(NEXT_HOP, "-C", both, *self.flags) as sink, \
                tools.Delay(NEAR, NEXT_HOP):
            yield sink


def signature_us():
    """CPU of a bare RSA-2048 signature, by the library's own measure."""
    done = subprocess.run(["openssl", "speed", "-seconds", "1", "rsa2048"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, check=True)
    return float(re.search(r"rsa 2048 bits ([0-9.]+)s", done.stdout)
                 .group(1)) * 1e6


class Sign(Relay):
    """Signed mail, and the same server's mail of a domain without a key."""
    section, untuned, compared = "Signed", (), ()
    more = {"sign": True}

    def send(self, peer, sink, n, sender):
        sink.reset()
        said = tools.load(peer.port, self.conns, n, to=self.to, sender=sender)
        seen = sink.wait("messages", n)
        return seen["last"] - said["begin"], said

    def cost(self, peer, sink, n, sender):
        wait_idle(sink)
        before, _ = quiet(peer.group)
        took, said = self.send(peer, sink, n, sender)
        after, _ = quiet(peer.group, least=1.2)
        return (after - before) * 1e6 / n, n / took, said

    def measure(self, peer, sink, plan):
        signed = "sender@" + SIGNED
        took, _ = self.send(peer, sink, self.first, signed)
        n = plan.count(self.first / took)
        cpu, rate, said = self.cost(peer, sink, n, signed)
        got = {"rate": rate, "cpu_us": cpu, "messages": n,
               "p50_ms": said["p50_us"] / 1e3, "p99_ms": said["p99_us"] / 1e3,
               "most_ms": said["most_us"] / 1e3}
        if peer.name == "mta":
            plain, _, _ = self.cost(peer, sink, n, "sender@client.test")
            got["over_parts"] = cpu - plain - signature_us()
        return got


class WholeWay(Relay):
    """As in life.  What is deferred stays in the queue, so the end is that
    all have had an answer."""
    section, untuned, compared = "As in life", (), ()
    more = {"sign": True, "send_tls": "encrypt"}
    fixed = 3000

    @contextlib.contextmanager
    def surroundings(self):
        both = place.Place.current.certificate_and_key()
        far = FAR_HOSTS + "-127.4.0.100"
        with names(), tools.Sink(far, "-C", both, "-B", "-4", "20", "-5",
                                 "100") as sink, \
                tools.Delay("127.1.0.1", FAR_HOSTS, hosts=100):
            yield sink

    def through(self, peer, sink, n):
        sink.reset()
        said = tools.load(peer.port, self.conns, n, to=self.to,
                          users=self.users, sender="sender@" + SIGNED)
        seen = sink.wait("messages", n)
        return seen["last"] - said["begin"], seen


SINGLE = [x_postfix(2), Goal("of_postfix", "<=", 0.25),
          Goal("over_bare", "<=", 130)]

ROWS = [
    AcceptTls("tls-kept-100", 100, 1, True, goals=[x_postfix(10),
                                                  x_clear(1.7)],
              title="accept over TLS, 1 KiB, 100 connections kept"),
    AcceptTls("tls-pipe-100", 100, 1, True, True,
              goals=[x_clear(1.4)],
              title="accept over TLS, 1 KiB, 100 connections kept, "
              "pipelining"),
    Handshakes("tls-one-20", 20, 1, False, goals=SINGLE,
               title="accept, 1 KiB, 20 connections, a new TLS session for "
               "each message"),
    Handshakes("tls-resumed-20", 20, 1, False, goals=SINGLE,
               tls="SR",
               title="the same, sessions resumed"),
    RelayTlsOne("relay-tls-one", "accept in clear + relay to one next hop "
                "over TLS, 1 KiB, 20 connections kept", mode="relay",
                goals=[x_postfix(10), x_clear(1.6),
                       Goal("sockets", "==", 1, "socket"),
                       Goal("handshakes", "==", 1, "handshake")]),
    RelayTls("relay-tls-100", "accept in clear + relay to 100 MX hosts over "
             "TLS, 1 KiB, 20 connections kept", mode="mx", dns=True,
             listen=HOSTS, users=100, first=200, to="user@d%d.mx.test",
             goals=[x_postfix(8), Goal("handshakes", "==", 100,
                                       "handshakes")]),
    LongLineTls("line-tls-bdat", "relay to one next hop over a line of 25 ms "
                "each way, CHUNKING over TLS", ["-b"], 20),
    IdleTls(),
    Sign("sign", "accept, sign with RSA-2048, relay to one next hop, 1 KiB, "
         "20 connections kept", mode="relay", who=("mta", "postfix"),
         goals=[x_postfix(3), Goal("over_parts", "<=", 60),
                Goal("p99_ms", "<=", 10, "ms p99")]),
    WholeWay("life", "accept, sign, relay over TLS to 100 MX hosts behind "
             "lines of 50 ms a round trip, half of them with CHUNKING; 5 % "
             "of the messages are deferred, 1 % refused", mode="mx",
             dns=True, users=100, to="user@d%d.mx.test",
             who=("mta", "postfix"),
             goals=[x_postfix(4), Goal("of_postfix", "<=", 0.2)]),
]
