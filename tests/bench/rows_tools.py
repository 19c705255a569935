"""Rows: what an operator waits for, and the container."""

import json
import os
import statistics
import subprocess
import time

import container
import harness
import peers
import tools
from row import Goal, Row, quiet
from rows_state import MS, greeted


def timed(command, out=subprocess.PIPE):
    """Seconds that it takes, and what it prints."""
    begin = time.monotonic()
    done = subprocess.run(command, check=True, stdout=out)
    return time.monotonic() - begin, done.stdout


def middle(command, times=3):
    return statistics.median(timed(command, subprocess.DEVNULL)[0]
                             for _ in range(times))


class Operate(Row):
    name, section, mode = "operate", "Tools", "hold"
    title, rounds, slow = "100,000 queued messages", 1, True
    who, count = ("mta",), 100000
    shows = [("list", "mta queue list", "s", 3),
             ("filter", "list with a filter, the slowest of four", "s", 3),
             ("show", "show ID", "ms", 1),
             ("hold", "hold --all, daemons run", "s", 2),
             ("alone", "hold --all, none runs", "s", 2),
             ("release", "release --all beside the delivery of them", "s", 2)]
    goals = [Goal("list", "<=", 0.1, "s"), Goal("filter", "<=", 0.2, "s"),
             Goal("show", "<=", 20, "ms"), Goal("hold", "<=", 1, "s"),
             Goal("alone", "<=", 1, "s")]
    filters = [("--domain", "d7.test"), ("--sender", "sender@client.test"),
               ("--older", "1s"), ("--reply", "refused")]

    def surroundings(self):
        return tools.Sink(peers.NEXT_HOP)

    def run(self, peer, mode):
        """With a next hop that refuses: one try of each, and the next is days
        away."""
        peer.stop()
        peer.mode = mode
        peer.start()
        greeted(peer.port)

    def operate(self, peer, verb, n):
        took, said = timed(peer.tool("queue", verb, "--all", "--json"))
        assert json.loads(said)["messages"] == n, said
        return took

    def shown(self, peer):
        _, said = timed(peer.tool("queue", "list", "--json"))
        lines = said.splitlines()
        ids = [json.loads(x)["id"] for x in lines[::max(1, len(lines) // 20)]]
        return statistics.median(timed(peer.tool("queue", "show", i))[0]
                                 for i in ids)

    def measure(self, peer, sink, plan):
        n = plan.messages or self.count
        tools.load(peer.port, 20, n, size=256, seconds=400,
                   to="user@d%d.test", users=100)
        self.run(peer, "stuck")
        quiet(peer.group, least=3, most=120)
        got = {"list": middle(peer.tool("queue", "list")),
               "filter": max(middle(peer.tool("queue", "list", *f))
                             for f in self.filters),
               "show": self.shown(peer) * MS,
               "hold": self.operate(peer, "hold", n)}
        peer.stop()
        self.operate(peer, "release", n)
        got["alone"] = self.operate(peer, "hold", n)
        peer.mode = "relay"
        peer.start()
        greeted(peer.port)
        quiet(peer.group, most=60)
        sink.reset()
        got["release"] = self.operate(peer, "release", n)
        sink.wait("messages", n)
        return got


class Health(Row):
    name, section, mode = "health", "Tools", "relay"
    title, who, count = "mta check --health", ("mta",), 50
    shows = [("p50", "middle of 50", "ms", 1), ("most", "the slowest", "ms", 1)]
    goals = [Goal("p50", "<=", 20, "ms")]

    def measure(self, peer, env, plan):
        quiet(peer.group, share=0.2)
        took = [timed(peer.tool("check", "--health"))[0] * MS
                for _ in range(self.count)]
        return {"p50": statistics.median(took), "most": max(took)}


class InContainer(Row):
    """The image's root in namespaces, as a user without rights; no engine."""
    name, section, mode = "container", "Tools", "hold"
    title, who, starts = "container", ("mta",), 5
    shows = [("start", "from its start to the greeting", "ms", 0),
             ("mib", "its root without CA certificates", "MiB", 1)]
    goals = [Goal("start", "<=", 50, "ms"), Goal("mib", "<=", 15, "MiB")]

    def start(self, peer, root, number):
        volume = os.path.join(peer.dir, "volume%d" % number)
        os.mkdir(volume)
        os.chmod(volume, 0o770)
        with container.Container(root, volume) as c:
            began = c.start()
            client, line = c.greeting()
            took = time.monotonic() - began
            client.close()
            assert line.startswith(b"220 "), line
            assert c.stop()[0] == 0
        return took

    def measure(self, peer, env, plan):
        root = os.path.join(peer.dir, "root")
        os.mkdir(root)
        subprocess.run([os.path.join(harness.ROOT, "tests", "tools",
                                     "container_root.sh"), root, peer.binary],
                       check=True)
        peer.stop()
        quiet(peer.group)
        took = [self.start(peer, root, i) for i in range(self.starts)]
        return {"start": statistics.median(took) * MS,
                "mib": container.root_size(root) / 2**20}


ROWS = [Operate(), Health(), InContainer()]
