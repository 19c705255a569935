"""Rows: idle connections, start and stop, full queues."""

import contextlib
import os
import statistics
import subprocess
import time

import harness
import peers
import tools
from compare import Figure
from peer import Peer
from row import Goal, Row, quiet

MS = 1e3


def greeted(port, limit=120):
    """Seconds until a client is greeted, with a look each ms."""
    start = time.monotonic()
    while time.monotonic() - start < limit:
        try:
            with harness.socket.create_connection(("127.0.0.1", port),
                                                  timeout=limit) as s:
                if s.recv(3) == b"220":
                    return time.monotonic() - start
        except OSError:
            time.sleep(0.001)  # between two looks
    raise AssertionError("no greeting within %g s" % limit)


class Idle(Row):
    name, section, mode = "idle-1000", "Idle and crowded", "hold"
    title, more = "1,000 idle connections", {"limit": 1200}
    rounds = 3
    shows = [("kib", "private memory each", "KiB", 2),
             ("held", "connections that were greeted", "", 0)]
    goals = [Goal("kib", "<=", 1, "KiB"), Goal("held", ">=", 1000, "")]
    compared = [Figure("cpu_us", "CPU µs each, with EHLO", "cpu", 1),
                Figure("kib", "private KiB each", "shown", 2)]

    def measure(self, peer, env, plan):
        tools.load(peer.port, 20, 200)
        begin, _ = quiet(peer.group, share=0.2)
        before, _ = peer.group.memory()
        # A few at a time: for those with room for five that wait.
        with tools.idle(peer.port, 1000, "-e", "-w", "4",
                        seconds=60) as said:
            end, _ = quiet(peer.group, share=0.2)
            after, _ = peer.group.memory()
        return {"kib": (after - before) / 1024 / max(1, said["greeted"]),
                "cpu_us": (end - begin) * 1e6 / max(1, said["greeted"]),
                "held": said["greeted"]}


class Burst(Row):
    name, section, mode = "burst-1000", "Idle and crowded", "hold"
    title, more = "1,000 connections at once", {"limit": 1200}
    rounds = 3
    shows = [("held", "greeted within 10 s", "", 0),
             ("last", "the last of them after", "ms", 0)]
    goals = [Goal("held", ">=", 1000, ""), Goal("last", "<=", 1000, "ms")]

    def measure(self, peer, env, plan):
        with tools.idle(peer.port, 1000) as said:
            return {"held": said["greeted"], "last": said["last_ms"]}


class Crowd(Row):
    name, section, mode = "crowd-7200", "Idle and crowded", "hold"
    title = "8 workers × 900 idle connections"
    who, more = ("mta",), {"workers": 8, "max_clients": 959}
    shows = [("held", "connections held", "", 0),
             ("p50", "a new client is greeted after", "ms", 2),
             ("most", "the slowest of 50", "ms", 2),
             ("kib", "private memory each", "KiB", 2)]
    goals = [Goal("held", ">=", 7200, ""), Goal("most", "<=", 50, "ms")]

    def measure(self, peer, env, plan):
        before, _ = peer.group.memory()
        with tools.idle(peer.port, 7200, "-e", seconds=60) as said:
            after, _ = peer.group.memory()
            took = [greeted(peer.port) * MS for _ in range(50)]
        return {"held": said["greeted"], "p50": statistics.median(took),
                "most": max(took),
                "kib": (after - before) / 1024 / max(1, said["greeted"])}


class Rest(Row):
    name, section, mode = "rest", "Idle and crowded", "relay"
    title = "the whole system with nothing to do"
    shows = [("mib", "private memory of all processes", "MiB", 1),
             ("start", "from start to greeting, empty queue", "ms", 0)]
    goals = [Goal("mib", "<=", 12, "MiB"), Goal("start", "<=", 50, "ms")]
    # How the processes of a start meet each other is worth this much.
    compared = [Figure("start_cpu", "CPU ms of a start", "cpu", 1, grain=2),
                Figure("start", "ms from start to greeting", "time", 1,
                       grain=5),
                Figure("mib", "private MiB", "shown", 2)]

    def measure(self, peer, env, plan):
        quiet(peer.group, share=0.2)
        private, _ = peer.group.memory()
        peer.stop()
        before = peer.group.cpu()
        begin = peer.start_timed()
        greeted(peer.port)
        start = time.monotonic() - begin
        after, _ = quiet(peer.group, share=0.2)
        return {"mib": private / 2**20, "start": start * MS,
                "start_cpu": (after - before) * MS}


def time_list(peer):
    """Seconds that it takes to list a queue: on the wall, and of CPU."""
    took, used = [], []
    while len(took) < 3 and sum(took) < 5:
        begin, before = time.monotonic(), os.times()
        subprocess.run(peer.list_queue(), check=True,
                       stdout=subprocess.DEVNULL)
        took.append(time.monotonic() - begin)
        after = os.times()
        used.append(after.children_user - before.children_user +
                    after.children_system - before.children_system)
    return statistics.median(took), statistics.median(used)


class Full(Row):
    name, section, mode = "full", "Full queues", "hold"
    title, rounds, slow = "100,000 queued messages", 1, True
    count = 100000
    shows = [("list", "list them", "s", 2),
             ("start", "restart to greeting", "ms", 0),
             ("settled", "restart until it has settled", "s", 2)]
    goals = [Goal("list", "<=", 0.3, "s"), Goal("start", "<=", 100, "ms"),
             Goal("settled", "<=", 0.5, "s")]
    compared = [Figure("list_cpu", "CPU s of a list", "cpu", 2, grain=0.02),
                Figure("list", "s to list", "time", 3, grain=0.01),
                Figure("start_cpu", "CPU s of a restart until settled", "cpu",
                       3, grain=0.005),
                Figure("start", "ms from restart to greeting", "time", 1,
                       grain=5),
                # quiet() looks every 0.05 s.
                Figure("settled", "s from restart until settled", "time", 2,
                       grain=0.1)]

    def fill(self, peer, plan):
        tools.load(peer.port, 20, plan.messages or self.count, size=256,
                   seconds=400)
        quiet(peer.group, most=60)

    def measure(self, peer, env, plan):
        self.fill(peer, plan)
        if not peer.holds:
            # One try of each, to a next hop that refuses, and the next is
            # days away.
            peer.stop()
            peer.mode = "stuck"
            peer.start()
            greeted(peer.port)
            quiet(peer.group, least=3, most=120)
        took, used = time_list(peer)
        peer.stop()
        before = peer.group.cpu()
        begin = peer.start_timed()
        greeted(peer.port)
        start = time.monotonic() - begin
        after, since = quiet(peer.group, most=60)
        return {"list": took, "list_cpu": used, "start": start * MS,
                "start_cpu": after - before, "settled": since - begin}


class Million(Row):
    name, section, mode = "million", "Full queues", "hold"
    title, rounds, slow = "1,000,000 queued recipients", 1, True
    who = ("mta",)
    more = {"routes": ["fresh.test=[%s]:25" % peers.NEXT_HOP]}
    shows = [("start", "start to greeting", "ms", 0),
             ("fresh", "start until a new message is relayed", "ms", 0),
             ("octets", "memory of the sender for each", "octets", 0)]
    goals = [Goal("start", "<=", 2000, "ms"), Goal("fresh", "<=", 2000, "ms"),
             Goal("octets", "<=", 200, "octets")]

    def surroundings(self):
        return tools.Sink(peers.NEXT_HOP)

    def sender(self, peer):
        """It is the only process with threads."""
        return [pid for pid in peer.group.pids()
                if len(os.listdir("/proc/%d/task" % pid)) > 1]

    def measure(self, peer, sink, plan):
        peer.stop()
        empty = self.run_idle(peer)
        peer.mode = "hold"
        peer.start()
        greeted(peer.port)
        n = plan.messages or 1000000
        tools.load(peer.port, 100, n, size=200, pipeline=True, seconds=400)
        peer.stop()
        self.settle(peer)
        peer.stop()
        sink.reset()
        begin = peer.start_timed()
        greeted(peer.port)
        start = time.monotonic() - begin
        tools.load(peer.port, 1, 1, to="user@fresh.test")
        fresh = sink.wait("messages", 1)["last"] - begin
        quiet(peer.group, most=60)
        private, _ = peer.group.memory(self.sender(peer))
        return {"start": start * MS, "fresh": fresh * MS,
                "octets": (private - empty) / n}

    def run_idle(self, peer):
        """Memory of a sender with an empty queue."""
        self.settle(peer)
        private, _ = peer.group.memory(self.sender(peer))
        peer.stop()
        return private

    def settle(self, peer):
        """One try of each, which fails; the next is days away."""
        peer.mode = "stuck"
        peer.start()
        greeted(peer.port)
        quiet(peer.group, least=3, most=240)


class Behind(Row):
    name, section, mode = "behind", "Full queues", "relay"
    title, rounds, slow = "100,000 letters of one sender for a next hop that " \
        "takes a second for each, then another's", 1, True
    who = ("mta",)
    shows = [("between", "letters that leave between the other sender's and "
              "those that had been sent", "", 0),
             ("queued", "letters that still wait then", "", 0)]
    goals = [Goal("between", "<=", 2, "")]

    @contextlib.contextmanager
    def surroundings(self):
        def slow(*_):
            time.sleep(1)
            return "250 2.0.0 taken"
        with Peer(peers.NEXT_HOP, 25, {"DOT": slow}) as hop:
            yield hop

    def sent(self, hop):
        return [x for s in hop.lines() for x in s if x.startswith("MAIL")]

    def others(self, hop):
        return [i for i, x in enumerate(self.sent(hop)) if "<other@" in x]

    def measure(self, peer, hop, plan):
        n = plan.messages or 100000
        tools.load(peer.port, 20, n, size=256, pipeline=True, seconds=400)
        harness.until("the flood leaves", lambda: len(hop.messages) > 2, 60)
        tools.load(peer.port, 1, 1, size=256, sender="other@client.test")
        before = len(self.sent(hop))
        at = harness.until("the other letter", lambda: self.others(hop), 60)
        return {"between": at[0] - before, "queued": n - at[0]}


ROWS = [Idle(), Burst(), Crowd(), Rest(), Full(), Million(), Behind()]
