#!/usr/bin/python3
"""kill -9 of any process at any moment, and then count every message.

usage: crash.py [--messages N] [--kills N] [--seed N]

`mta run` takes messages for local mailboxes, for a remote domain (whose MX a
real DNS server names, a sink of ours) and for both.  Meanwhile a random
process of the tree is killed, again and again: a worker, the server's master,
the sender, the collector of the log, or the supervisor, after which the whole
is started anew.  Each body has a token and a checksum.  At the end:

  lost        a token that got its 250 and is not at its destination: never
  damaged     a copy whose checksum is wrong: never
  duplicates  a token twice at one destination: only where an answer or a
              delivered mark was lost in a kill (RFC 5321 6.1); counted
"""

import argparse
import asyncio
import collections
import contextlib
import glob
import hashlib
import os
import random
import re
import shutil
import signal
import smtplib
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))

import harness  # noqa: E402
from dnsserver import DnsServer  # noqa: E402

SIZES = [300, 1000, 4000, 20000, 300000]
WEIGHTS = [30, 30, 30, 8, 2]


def make(token, size, chance):
    body = b"%08x" % chance.getrandbits(32) * (size // 8 + 1)
    text = b"".join(body[i:i + 72] + b"\r\n" for i in range(0, size, 72))
    digest = hashlib.sha256(text).hexdigest().encode()
    return (b"Subject: %s\r\nX-Sum: %s\r\n\r\n" % (token.encode(), digest)
            + text)


def examine(raw):
    """(token, intact) of a message as it arrived, any line ends."""
    raw = raw.replace(b"\r\n", b"\n")
    head, _, body = raw.partition(b"\n\n")
    token = re.search(rb"^Subject: (\S+)$", head, re.M)
    total = re.search(rb"^X-Sum: (\S+)$", head, re.M)
    if not token or not total:
        return None, False
    digest = hashlib.sha256(body.replace(b"\n", b"\r\n")).hexdigest()
    return token.group(1).decode(), digest.encode() == total.group(1)


class Sink(threading.Thread):
    """A remote host that keeps tokens and counts connections."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.got = port, collections.Counter()
        self.damaged, self.now, self.most = 0, 0, 0
        self.ready = threading.Event()

    def run(self):
        asyncio.run(self.main())

    async def main(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1",
                                            self.port, limit=1 << 20)
        self.ready.set()
        async with server:
            await server.serve_forever()

    async def serve(self, reader, writer):
        try:
            await self.dialogue(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def dialogue(self, reader, writer):
        writer.write(b"220 sink.test ESMTP\r\n")
        while True:
            line = await reader.readline()
            verb = line[:4].upper()
            if not line or verb == b"QUIT":
                return
            if verb == b"EHLO":
                writer.write(b"250-sink.test\r\n250 PIPELINING\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go\r\n")
                raw = await reader.readuntil(b"\r\n.\r\n")
                self.keep(raw[:-3].replace(b"\r\n..", b"\r\n."))
                writer.write(b"250 2.0.0 taken\r\n")
            else:
                writer.write(b"250 2.0.0 ok\r\n")

    def keep(self, raw):
        token, intact = examine(raw)
        if token is None or not intact:
            self.damaged += 1
        else:
            self.got[token] += 1


class Client(threading.Thread):
    """Submits its share; what has no answer is submitted as a new one."""

    def __init__(self, m, number, share, seed):
        super().__init__(daemon=True)
        self.m, self.number, self.share = m, number, share
        self.chance = random.Random(seed * 1000 + number)
        self.acked = {}  # token -> destinations
        self.unknown = 0
        self.smtp = None

    def connect(self):
        while self.smtp is None:
            try:
                self.smtp = smtplib.SMTP("127.0.0.1", self.m.port,
                                         local_hostname="client.test",
                                         timeout=60)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.02)  # nobody listens yet: killed just now

    def drop(self):
        if self.smtp is not None:
            self.smtp.close()
        self.smtp = None

    def submit(self, token):
        where = self.chance.choice([("local",), ("remote",),
                                    ("local", "remote")])
        rcpts = {"local": "user%d@here.test" % self.chance.randrange(5),
                 "remote": "u@far.test"}
        size = self.chance.choices(SIZES, WEIGHTS)[0]
        self.connect()
        try:
            refused = self.smtp.sendmail("a@here.test",
                                         [rcpts[w] for w in where],
                                         make(token, size, self.chance))
            if not refused:
                self.acked[token] = where
                return True
        except (OSError, smtplib.SMTPException):
            self.unknown += 1
            self.drop()
        return False

    def run(self):
        serial = 0
        while len(self.acked) < self.share:
            serial += 1
            self.submit("c%d-%d" % (self.number, serial))
            if self.chance.random() < 0.1:
                self.drop()
        self.drop()


def kinds(m):
    """name -> pids of the tree under the supervisor."""
    top = m.process.pid
    found = collections.defaultdict(list, supervisor=[top])
    for pid in harness.children_of(top):
        below = harness.children_of(pid)
        with contextlib.suppress(OSError):
            threads = len(os.listdir("/proc/%d/task" % pid))
            if below:
                found["master"].append(pid)
                found["worker"] += below
            elif threads > 1:
                found["sender"].append(pid)
            else:
                found["collector"].append(pid)
    return found


def kill_one(m, chance, killed):
    found = kinds(m)
    name = chance.choice([k for k in sorted(found) if found[k]] + ["worker"])
    if not found[name]:
        return
    pid = chance.choice(found[name])
    if name == "supervisor":
        family = harness.tree_of(pid)
        m.process.kill()
        m.process.wait()
        harness.until("orphans gone", lambda: not any(
            harness.is_alive(p) for p in family), 60)
        m.start(wait=False)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    killed[name] += 1


def account(m, clients, sink):
    local, damaged = collections.Counter(), sink.damaged
    for path in glob.glob(os.path.join(m.mail, "*", "new", "*")):
        with open(path, "rb") as f:
            token, intact = examine(f.read())
        if token is None or not intact:
            damaged += 1
        else:
            local[token] += 1
    at = {"local": local, "remote": sink.got}
    acked = {t: w for c in clients for t, w in c.acked.items()}
    lost = [(t, w) for t, where in acked.items() for w in where
            if at[w][t] == 0]
    duplicates = sum(n - 1 for c in at.values() for n in c.values())
    return acked, lost, damaged, duplicates


def unlogged(m, acked):
    """Accepted messages without their line, by counting.  Processes whose
    supervisor and collector were both killed say their last on stderr."""
    seen = len(m.events("serve.accepted")) + \
        len(re.findall(r" serve\.accepted ", m.errors()))
    return max(0, len(acked) - seen)


def run(args):
    chance = random.Random(args.seed)
    killed = collections.Counter()
    port = harness.free_port()
    sink = Sink(port)
    sink.start()
    sink.ready.wait()
    with DnsServer({"far.test": "@ MX 10 mx\nmx A 127.0.0.1"}) as dns:
        m = harness.Mta("run", {"dns.servers": [dns.address],
                                "send.port": port, "log.level": "info",
                                "send.retry_min": "1s",
                                "send.retry_max": "1s",
                                "serve.session_timeout": "1h"})
        try:
            begin = time.monotonic()
            clients = [Client(m, i, args.messages // 6, args.seed)
                       for i in range(6)]
            for c in clients:
                c.start()
            while any(c.is_alive() for c in clients):
                if sum(killed.values()) < args.kills:
                    kill_one(m, chance, killed)
                time.sleep(chance.random() * args.pause)  # a random moment
            harness.until("queue empty", lambda: m.queued() == [], 120)
            seconds = time.monotonic() - begin
            m.stop()
            acked, lost, damaged, duplicates = account(m, clients, sink)
            missing = unlogged(m, acked)
            print("seed %d: %d messages acknowledged, %d without an answer, "
                  "%.0f s" % (args.seed, len(acked),
                              sum(c.unknown for c in clients), seconds))
            print("killed: " + ", ".join("%s %d" % k
                                         for k in sorted(killed.items())))
            print("lost %d, damaged %d, duplicates %d, without a line in the "
                  "log %d" % (len(lost), damaged, duplicates, missing))
            for x in lost[:10]:
                print("LOST", x)
            if (lost or missing) and args.keep:
                shutil.copytree(m.dir, args.keep, dirs_exist_ok=True,
                                ignore=shutil.ignore_patterns("queue"))
            # Each kill can cost, at the most, what was in flight just then.
            bound = 40 * sum(killed.values())
            return [("no message is lost", not lost),
                    ("no message is damaged", damaged == 0),
                    ("duplicates are few", duplicates <= bound),
                    ("every accepted message is in the log", missing == 0)]
        finally:
            m.cleanup()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--messages", type=int, default=10000)
    ap.add_argument("--kills", type=int, default=300)
    ap.add_argument("--pause", type=float, default=0.4)
    ap.add_argument("--keep", help="copy the directory here on a loss")
    ap.add_argument("--seed", type=int,
                    default=int(os.environ.get("CRASH_SEED",
                                               random.randrange(100000))))
    results = run(ap.parse_args())
    bad = [name for name, fine in results if not fine]
    for name in bad:
        print("FAILED: " + name)
    print("%d passed, %d failed" % (len(results) - len(bad), len(bad)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
