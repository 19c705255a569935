"""Rows: accepting mail."""

import compare
import place
import tools
from row import Goal, Row, quiet


class Accept(Row):
    section, mode, syncs, alone = "Accepting", "hold", True, True
    compared = compare.RATES
    least = 100  # messages

    def __init__(self, name, conns, kib, keep, pipeline=False, goals=(),
                 **over):
        self.name, self.conns, self.kib = name, conns, kib
        self.keep, self.pipeline, self.goals = keep, pipeline, goals
        self.title = "accept, %d KiB, %d connection%s%s%s" % (
            kib, conns, "s" * (conns > 1),
            " kept" if keep else ", one message each",
            ", pipelining" * pipeline)
        self.users, self.to = 0, "user%d@elsewhere.test"
        self.__dict__.update(over)

    def load(self, peer, n):
        return tools.load(peer.port, self.conns, n, self.kib * 1024,
                          self.keep, self.pipeline, to=self.to,
                          users=self.users)

    def warm(self, peer):
        """All processes are there; tells about how fast it is."""
        self.load(peer, 2 * self.conns)
        return self.load(peer, max(3 * self.conns, 100))["rate"]

    def measure(self, peer, env, plan):
        n = plan.count(self.warm(peer), self.least, 200000 // self.kib)
        before, _ = quiet(peer.group)
        place.back_memory(2 * n * self.kib * 1024)  # pages of files, to fill
        said = self.load(peer, n)
        after, _ = quiet(peer.group)
        return {"rate": said["rate"], "p50_ms": said["p50_us"] / 1e3,
                "p99_ms": said["p99_us"] / 1e3,
                "most_ms": said["most_us"] / 1e3,
                "messages": said["messages"],
                "cpu_us": (after - before) * 1e6 / max(1, said["messages"]),
                "load_us": said["own_cpu_us"]}

    def measure_syncs(self, peer, env):
        self.load(peer, 2 * self.conns)
        n = 10 * self.conns if self.conns > 1 else 200
        calls, said = peer.syncs(lambda: self.load(peer, n))
        return calls / max(1, said["messages"])


def x_postfix(n, **more):
    return Goal("x_postfix", ">=", n, **more)


def cpu(us, yard):
    return Goal("cpu_us", "<=", us, "µs", yard=yard)


def syncs(n):
    return Goal("syncs", "<=", n, "syncs a message")


NOBODY_HANGS = Goal("most_ms", "<=", 250, "ms for the slowest")

ROWS = [
    Accept("one-20", 20, 1, False,
           goals=[x_postfix(6), cpu(110, 1006), NOBODY_HANGS]),
    Accept("one-100", 100, 1, False,
           goals=[x_postfix(10), cpu(100, 1221), NOBODY_HANGS]),
    Accept("kept-1", 1, 1, True, goals=[x_postfix(3), syncs(1.1)]),
    Accept("kept-20", 20, 1, True, goals=[x_postfix(8), cpu(60, 752)]),
    Accept("kept-100", 100, 1, True,
           goals=[x_postfix(12), cpu(50, 703), syncs(0.1),
                  Goal("p99_ms", "<=", 10, "ms p99"), NOBODY_HANGS]),
    Accept("pipe-20", 20, 1, True, True, who=("mta", "postfix", "exim"),
           goals=[x_postfix(15, against="kept-20")]),
    Accept("pipe-100", 100, 1, True, True, who=("mta", "postfix", "exim"),
           goals=[x_postfix(15, against="kept-100")]),
    Accept("kept-100-10k", 100, 10, True, goals=[x_postfix(9), cpu(80, 767)]),
    Accept("kept-20-100k", 20, 100, True,
           goals=[x_postfix(4), cpu(250, 1118)]),
]
