#!/usr/bin/python3
"""kill -9 of any process at any moment, and then count every message.

usage: crash.py [--messages N] [--kills N] [--pause S] [--seed N] [--keep DIR]
                [--mbox]

`mta run` takes messages for local mailboxes, for an alias of three users and
a remote address, for remote hosts (which take them, refuse them for a while,
or bounce them) and for several of these.  Meanwhile a random one of these
happens, again and again:

  worker, master, sender, collector,
  delivery, deliver, mailbox          SIGKILL, its parent starts another;
               delivery is the master of the other two
  supervisor   SIGKILL, its children end by themselves, then a new start
  all          SIGKILL for the whole tree at once, and a new start at once
  start        the same, and again within the start that follows, and again
  reload       SIGHUP: every worker leaves its segment behind half empty, so
               that there are many, and the sender has much to reclaim
  second       another `mta send --once`: must refuse while there is a sender

tests/system/traffic.py says what is counted.  Exit status 1 when a message is
lost, damaged or missing in the log, or when there are more duplicates than
kills can explain: none in a Maildir.  With --mbox mailboxes are mbox files,
where a kill may double what a mailbox process has in hand, and tear one.
"""

import argparse
import collections
import contextlib
import glob
import os
import random
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))

import harness  # noqa: E402
import traffic  # noqa: E402
from dnsserver import DnsServer  # noqa: E402
from processes import by_role  # noqa: E402

# What is killed alone, and its process.
ONE = {"worker": "worker", "master": "serve", "sender": "send",
       "collector": "log", "delivery": "deliver master", "deliver": "deliver",
       "mailbox": "mailbox"}
KINDS = (*ONE, "worker", "supervisor", "all", "start", "reload", "second")
KILLS = (*ONE, "supervisor", "all", "start")
REFUSED = 69        # EX_UNAVAILABLE: another sender is at work
IN_FLIGHT = 40      # what a sender has in hand, at the most, when it dies
IN_BOXES = 256      # copies in the hands of a mailbox process


def pids_of(m, kind):
    return by_role(m.process.pid).get(ONE[kind], [])


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Killer:
    def __init__(self, m, seed):
        self.m, self.chance = m, random.Random(seed)
        self.done, self.refused = collections.Counter(), 0
        self.shared_queue = 0  # two senders were at work: never

    @property
    def kills(self):
        return sum(self.done[k] for k in KILLS)

    def step(self):
        self.keep_running()
        kind = self.chance.choice(KINDS)
        if kind in ONE:
            pids = pids_of(self.m, kind)
            if not pids:
                return
            kill(self.chance.choice(pids))
        else:
            getattr(self, "do_" + kind)()
        self.done[kind] += 1

    def keep_running(self):
        """A start that came too early after a kill (the port was still in
        use, say) ends by itself; a service manager would try again, too."""
        if self.m.process.poll() is not None:
            self.m.start(wait=False)

    def do_supervisor(self):
        family = harness.tree_of(self.m.process.pid)
        self.m.process.kill()
        self.m.process.wait()
        harness.until("orphans gone", lambda: not any(
            harness.is_alive(p) for p in family), 60)
        self.m.start(wait=False)

    def do_all(self):
        for pid in harness.tree_of(self.m.process.pid):
            kill(pid)
        self.m.process.wait()
        self.m.start(wait=False)

    def do_start(self):
        for _ in range(self.chance.randrange(2, 5)):
            self.do_all()
            time.sleep(self.chance.random() * 0.08)  # a random moment
        self.keep_running()

    def do_reload(self):
        with contextlib.suppress(ProcessLookupError):
            self.m.renew()

    def do_second(self):
        before = pids_of(self.m, "sender")
        status = subprocess.run(
            [harness.MTA, "send", "--once", "-c", self.m.conf],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=300).returncode
        self.refused += status == REFUSED
        if before and before == pids_of(self.m, "sender"):
            self.shared_queue += status != REFUSED

    def disturb(self, clients, messages, kills, pause):
        """Until there were that many of both."""
        while True:
            if self.kills < kills:
                self.step()
                # Random moments; at times a sender gets as far as reclaim.
                time.sleep(self.chance.choice([1] * 15 + [10]) *
                           self.chance.random() * pause)
            elif sum(len(c.acked) for c in clients) < messages:
                self.keep_running()
                time.sleep(0.05)
            else:
                break
        for c in clients:
            c.enough.set()
        for c in clients:
            c.join()
        self.keep_running()


def measure(m, sink, args):
    killer = Killer(m, args.seed)
    clients = [traffic.Client(m, i, args.seed, mixes=traffic.ALL + traffic.LISTS)
               for i in range(args.clients)]
    begin = time.monotonic()
    for c in clients:
        c.start()
    killer.disturb(clients, args.messages, args.kills, args.pause)
    harness.until("queue empty", lambda: m.queued() == [], 120)
    seconds = time.monotonic() - begin
    m.stop()
    account = traffic.Account(m, clients, sink)
    left = glob.glob(os.path.join(m.queue, "*", "*.seg"))
    print("seed %d, %.0f s: %s" % (args.seed, seconds, account))
    print("%d kills: %s" % (killer.kills, ", ".join(
        "%s %d" % k for k in sorted(killer.done.items()))))
    print("a second sender was refused %d times; segments at the end: %d" % (
        killer.refused, len(left)))
    for x in account.lost[:10]:
        print("LOST", x)
    return killer, account


def most_in_boxes(killer, mbox):
    """Copies that kills may have doubled."""
    return mbox * IN_BOXES * (
        killer.done["mailbox"] + 2 * killer.done["delivery"] +
        2 * killer.done["deliver"] + 4 * 2 * (
            killer.done["supervisor"] + killer.done["all"] +
            killer.done["start"]))


def verdict(killer, account, mbox=False):
    hit_sender = killer.done["sender"] + 4 * (
        killer.done["supervisor"] + killer.done["all"] + killer.done["start"])
    return [
        ("no message is lost", not account.lost),
        ("no message is damaged", account.damaged == 0),
        ("every accepted message is in the log", not account.unlogged),
        ("a client duplicates only what had no answer",
         account.by["client"] <= account.unknown_copies),
        ("the sender duplicates only what it had in hand",
         account.by["sender"] <= IN_FLIGHT * hit_sender),
        ("no mailbox has a copy twice",
         account.by["server"] <= most_in_boxes(killer, mbox)),
        ("nothing is torn", mbox or not account.torn),
        ("a queue has one sender", killer.shared_queue == 0),
    ]


def run(args):
    sink = traffic.Sink()
    sink.start()
    sink.ready.wait()
    with DnsServer(traffic.zones()) as dns:
        m = harness.Mta("run", {"dns.servers": [dns.address],
                                "send.port": sink.port, "log.level": "info",
                                "local.mailbox": "mbox" if args.mbox
                                else "maildir",
                                "send.retry_min": "1s",
                                "send.retry_max": "1s"}, start=False)
        m.settings["local.aliases"] = os.path.join(m.dir, "aliases")
        with open(m.settings["local.aliases"], "w") as f:
            f.write(traffic.ALIASES)
        m.write_conf()
        try:
            m.start()
            killer, account = measure(m, sink, args)
            results = verdict(killer, account, args.mbox)
            if args.keep and not all(fine for _, fine in results):
                shutil.copytree(m.dir, args.keep, dirs_exist_ok=True)
            return results
        finally:
            m.cleanup()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--messages", type=int, default=10000)
    ap.add_argument("--kills", type=int, default=300)
    ap.add_argument("--clients", type=int, default=6)
    ap.add_argument("--pause", type=float, default=0.4)
    ap.add_argument("--mbox", action="store_true")
    ap.add_argument("--keep", help="copy the directory here on a failure")
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
