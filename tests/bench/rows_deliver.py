"""Rows: mail for users here, until it is in their mailboxes."""

import contextlib
import ctypes
import glob
import os
import select
import statistics
import subprocess
import threading
import time

import compare
import harness
import place
import tools
from compare import Figure
from peers import MEMBERS, NEXT_HOP
from row import Goal, Row, quiet
from rows_accept import Accept, cpu, x_postfix

MS = 1e3
PATIENCE = 300  # seconds


def monotonic_of(stamp):
    """A file's time on the clock that load has."""
    return stamp + time.monotonic() - time.time()


class Maildirs:
    """How many messages are there, and since when."""

    def __init__(self, peer):
        self.peer = peer

    def boxes(self):
        return glob.glob(os.path.join(self.peer.mail, "user*", "new"))

    def count(self):
        return sum(len(os.listdir(box)) for box in self.boxes())

    def last(self):
        return monotonic_of(max(os.stat(box).st_mtime
                                for box in self.boxes()))


class Mboxes:
    """The same; what was counted once is not read again."""

    def __init__(self, peer):
        self.peer, self.seen = peer, {}

    def boxes(self):
        return glob.glob(os.path.join(self.peer.mail, "user*[0-9]"))

    def count(self):
        for box in self.boxes():
            at, n = self.seen.get(box, (0, 0))
            with open(box, "rb") as f:
                f.seek(at)
                raw = f.read()
            whole = raw.rfind(b"\n") + 1
            self.seen[box] = (at + whole,
                              n + raw[:whole].count(b"\nX-Number: "))
        return sum(n for _, n in self.seen.values())

    def last(self):
        return monotonic_of(max(os.stat(box).st_mtime
                                for box in self.boxes()))


class Deliver(Accept):
    """Until the last message is in its box: most deliver after they have
    answered.  Of two builds the CPU time is compared."""
    section, mode, alone = "Delivering", "maildir", True
    watch = Maildirs
    compared = (Figure("cpu_us", "CPU µs each", "cpu", 1, most=1.4),
                Figure("rate", "per second", "shown"),
                Figure("p99_ms", "p99 ms of the answer to the dot", "shown",
                       2))
    each = 1  # copies of a message

    def load(self, peer, n):
        watch = self.watch(peer)
        had = watch.count()
        said = super().load(peer, n)
        want = had + said["messages"] * self.each
        harness.until("all delivered", lambda: time.sleep(0.05) or
                      watch.count() >= want, PATIENCE)
        said["rate"] = said["messages"] * self.each / max(
            watch.last() - said["begin"], 1e-3)
        self.errors = said["errors"]
        return said

    def measure(self, peer, env, plan):
        self.errors = 0
        return dict(super().measure(peer, env, plan), errors=self.errors)


class Mbox(Deliver):
    mode, watch, who = "mbox", Mboxes, ("mta", "postfix")


class Alias(Deliver):
    """The rate is that of copies."""
    mode, who, each, rounds = "alias", ("mta", "postfix"), MEMBERS, 3
    least = 3

    def warm(self, peer):
        return self.load(peer, 1)["rate"] / self.each


class Half(Row):
    """Half of the messages for users here, half for a next hop, until the
    last of both is there."""
    name, section, mode = "half", "Delivering", "half"
    title = "half of the messages local, half to one next hop, 1 KiB, 100 " \
        "connections kept, 100 users"
    who, goals, compared = ("mta", "postfix"), [x_postfix(10)], \
        (Figure("cpu_us", "CPU µs each", "shown", 1),
         Figure("rate", "per second", "shown"))

    @contextlib.contextmanager
    def surroundings(self):
        with tools.Sink(NEXT_HOP) as sink:
            yield sink

    def load(self, peer, sink, n):
        n += n % 2
        watch = Maildirs(peer)
        had = watch.count()
        sink.reset()
        said = tools.load(peer.port, 100, n, to=(
            "user%d@local.test", "user%d@elsewhere.test"), users=100)
        seen = sink.wait("messages", n // 2)
        harness.until("all delivered", lambda: time.sleep(0.05) or
                      watch.count() >= had + n // 2, PATIENCE)
        took = max(watch.last(), seen["last"]) - said["begin"]
        return dict(said, rate=n / took, messages=n)

    def measure(self, peer, sink, plan):
        rate = self.load(peer, sink, 400)["rate"]
        n = plan.count(rate)
        before, _ = quiet(peer.group)
        place.back_memory(4 * n * 1024)
        said = self.load(peer, sink, n)
        after, _ = quiet(peer.group, least=1.2)
        return {"rate": said["rate"], "messages": said["messages"],
                "p50_ms": said["p50_us"] / 1e3,
                "p99_ms": said["p99_us"] / 1e3,
                "most_ms": said["most_us"] / 1e3,
                "cpu_us": (after - before) * 1e6 / said["messages"]}


class Watch:
    """When a name comes into a directory, by inotify."""
    CREATE, MOVED_TO = 0x100, 0x80

    def __init__(self, path):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_CLOEXEC)
        if self.fd < 0 or self.libc.inotify_add_watch(
                self.fd, path.encode(), self.CREATE | self.MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "inotify: " + path)

    def wait(self):
        ready, _, _ = select.select([self.fd], [], [], harness.DEADLINE)
        now = time.monotonic()
        assert ready, "nothing came into the mailbox"
        os.read(self.fd, 4096)
        return now

    def close(self):
        os.close(self.fd)


def transact(c, rcpt, size=300):
    """One message; returns when it was begun and when it had its 250."""
    begin = time.monotonic()
    for line in ("MAIL FROM:<a@client.test>", "RCPT TO:<%s>" % rcpt, "DATA"):
        code, words = c.say(line)
        assert code in (250, 354), (line, code, words)
    code, words = c.say("Subject: x\r\n\r\n" + "x" * size + "\r\n.")
    assert code == 250, words
    return begin, time.monotonic()


class IdleSystem(Row):
    name, section, mode = "local-idle", "Delivering", "maildir"
    title = "a message for a user here, nothing else to do"
    who = ("mta", "postfix")
    shows = [("median", "from the 250 to the file in new", "ms", 2),
             ("most", "the slowest", "ms", 1)]
    goals = [Goal("median", "<=", 10, "ms")]
    compared = (Figure("median", "ms from the 250 to the file", "shown", 2),)

    def measure(self, peer, env, plan):
        took = []
        with harness.Raw("127.0.0.1", peer.port) as c:
            c.say("EHLO client.test")
            transact(c, "user1@local.test")
            new = os.path.join(peer.mail, "user1", "new")
            harness.until("the first", lambda: os.path.isdir(new) and
                          os.listdir(new))
            watch = Watch(new)
            for _ in range(plan.messages or 200):
                time.sleep(0.02)  # it is idle then
                _, told = transact(c, "user1@local.test")
                took.append(max(0, watch.wait() - told) * MS)
            watch.close()
        return {"median": statistics.median(took), "most": max(took)}


class Stranger(Row):
    """The slowest transaction of others, from MAIL to the 250, while one
    client sends what is much work to deliver; until it is delivered."""
    section, mode, who, rounds = "Delivering", "alias", ("mta",), 1
    slow = True
    shows = [("size", "its message (of a disk that has room)", "MB", 1),
             ("slowest", "slowest transaction of others", "ms", 1),
             ("count", "transactions of others meanwhile", "", 0),
             ("seconds", "until all of it is delivered", "s", 1)]
    goals = [Goal("slowest", "<=", 100, "ms")]
    compared = (Figure("slowest", "ms of the slowest transaction", "shown",
                       1),)
    others = ("neighbour@local.test", "neighbour@elsewhere.test")

    def __init__(self, name, title, size, to, rcpts, copies):
        self.name, self.title, self.wanted = name, title, size
        self.to, self.rcpts = to, rcpts
        self.copies = copies  # the mailboxes that get one

    def room(self, peer):
        """Octets that each copy may have."""
        disk = os.statvfs(peer.dir)
        return int(disk.f_bavail * disk.f_frsize * 0.8 / (self.copies + 2))

    def stranger(self, peer):
        """What it runs: its 250, whether or not it is one, ends it."""
        return subprocess.Popen(
            [tools.tool("load"), "-a", "127.0.0.1:%d" % peer.port, "-c", "1",
             "-n", "1", "-s", str(self.size), "-r", str(self.rcpts), "-t",
             self.to, "-p", "-T", str(PATIENCE)], stdout=subprocess.PIPE)

    def be_other(self, peer, rcpt, took):
        with harness.Raw("127.0.0.1", peer.port) as c:
            c.say("EHLO client.test")
            while not self.over:
                begin, end = transact(c, rcpt)
                took.append((end - begin) * MS)
                time.sleep(0.005)  # a client's pace

    def delivered(self, peer):
        sizes = []
        for box in glob.glob(os.path.join(peer.mail, "user*", "new")):
            sizes += [e.stat().st_size for e in os.scandir(box)]
        # Lines end with LF there: a little less than was sent.
        return sum(s > 0.9 * self.size for s in sizes) >= self.copies

    def measure(self, peer, env, plan):
        took, self.over = [], False
        self.size = min(self.wanted, self.room(peer))
        threads = [threading.Thread(target=self.be_other,
                                    args=(peer, rcpt, took))
                   for rcpt in self.others for _ in range(2)]
        for t in threads:
            t.start()
        begin = time.monotonic()
        try:
            with self.stranger(peer) as sends:
                said = sends.communicate()[0]
            assert sends.returncode == 0, said
            harness.until("all delivered", lambda: time.sleep(0.2) or
                          self.delivered(peer), PATIENCE)
            seconds = time.monotonic() - begin
        finally:
            self.over = True
            for t in threads:
                t.join()
        return {"slowest": max(took), "count": len(took), "seconds": seconds,
                "size": self.size / 1e6}


NO_4XX = Goal("errors", "==", 0, "4xx")

ROWS = [
    Deliver("maildir", 20, 1, True, title="accept + Maildir, 1 KiB, 20 "
            "connections kept, 100 users", users=100, to="user%d@local.test",
            goals=[x_postfix(4.5), cpu(250, 1190),
                   Goal("p99_ms", "<=", 10, "ms p99")]),
    Mbox("mbox", 20, 1, True, title="accept + mbox, 1 KiB, 20 connections "
         "kept, 4 mailboxes", users=4, to="user%d@local.test",
         goals=[x_postfix(5), NO_4XX]),
    Half(),
    Alias("alias", 1, 1, True, title="an alias of %d users, 1 KiB, copies a "
          "second" % MEMBERS, to="list@local.test", goals=[x_postfix(5)]),
    IdleSystem(),
    Stranger("stranger-50m", "while one sends 50 MB to 200 mailboxes",
             50 * 1000 * 1000, "user%r@local.test", 200, 200),
    Stranger("stranger-alias", "while one names an alias of %d users in 200 "
             "RCPT" % MEMBERS, 1024, "list@local.test", 200, MEMBERS),
]
