#!/usr/bin/python3
"""One's fault is never another's loss: hosts and name servers of bad habits
beside healthy ones, in one queue, for hours of the program's time.

usage: liveness.py [--seed N]... [--random] [--seconds S] [--minutes M]
                   [--without HABIT]... [--keep DIR] [-v]

A seed makes the places (habits.py), their letters and, if it is odd, kills of
the sender.  The clock leaps over what nobody has to wait for (world.py), so the
default retry settings and the time-outs of RFC 5321 take their time in seconds.
The verdicts (judge.py) rest on what the hosts say that they were offered and
took.  Exit status 1 when one of them is not true.
"""

import argparse
import collections
import os
import random
import shutil
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
sys.path.insert(0, HERE)

import habits  # noqa: E402
import harness  # noqa: E402
import hosts  # noqa: E402
import judge  # noqa: E402
import letters  # noqa: E402
import table  # noqa: E402
import world  # noqa: E402

LIBRARY = os.environ.get("LEAP", os.path.join(harness.ROOT, "build",
                                              "liveness", "leap.so"))
SLOWNESS = float(os.environ.get("LIVENESS_FACTOR", "1"))
BURST = 20          # letters, each of 0.3 s there
HEALTHY = 6         # the first places
WAITS = 4000        # of the program's threads in a minute of its time, at most
PATIENCE = 900      # real seconds, of a program that never waits
SAMPLE = 300        # seconds between two looks into the queue


def free_port_for_hosts():
    while True:
        port = harness.free_port()
        if harness.is_free("127.77.0.1", port):
            return port


class Run:
    def __init__(self, seed, minutes, without):
        self.seed, self.minutes = seed, minutes
        self.chance = random.Random(seed)
        self.factor = SLOWNESS
        self.world = world.World(LIBRARY)
        self.names = world.NameServer(self.world)
        self.places = habits.places(self.chance)
        for p in self.places:
            if any(w in repr(p) for w in without):
                p.letters = p.later = 0
        self.by_domain = {p.domain: p for p in self.places}
        self.letters, self.by_rcpt, self.by_host = [], {}, {}
        self.samples, self.kills, self.at_kill = [], [], []
        self.burst = 0
        self.port = free_port_for_hosts()
        self.make_hosts()
        self.m = harness.Mta("run", {
            "dns.servers": [self.names.address], "send.port": self.port,
            "send.retry_min": "5m", "send.retry_max": "4h",
            "send.session_linger": "5s", "log.level": "info"},
            env=self.world.time.env)
        self.world.program = world.Program(self.m)
        self.client = letters.Client(self.m, self.world)
        self.begin = self.world.now()
        self.end = self.begin + minutes * 60

    def place(self, rcpt):
        domain = rcpt.partition("@")[2]
        return self.by_domain.get(domain) or \
            self.by_domain[domain.partition(".")[2]]

    def since(self, when):
        return when - self.begin

    def make_hosts(self):
        for i, p in enumerate(self.places):
            addresses = {}
            for j, habit in enumerate(p.habits):
                h = hosts.Host(self.world, "127.77.%d.%d" % (i + 1, j + 1),
                               self.port, habit)
                state = getattr(habit, "state", "there")
                h.be(state)
                p.hosts.append(h)
                self.by_host[h] = p
                addresses["mx%d.%s" % (j, p.domain)] = [h.address]
            p.zone = world.Zone([(r, n) for r, n in zip(p.ranks, addresses)],
                                addresses)
            p.zone.manner = p.dns
            self.names.zones[p.domain] = p.zone

    # --- what happens, and when ---

    def plan(self):
        for i, p in enumerate(self.places):
            begin = self.chance.uniform(0, 30)
            for k in range(p.letters):
                self.plan_letter(i, p, k, begin if p.at_once else
                                 self.chance.uniform(0, 30), True)
            for k in range(p.later):
                self.plan_letter(i, p, p.letters + k, self.chance.uniform(
                    30, self.minutes * 45), False)
            if p.poison and p.at_once:
                p.hosts[0].on_deed = lambda d, p=p: self.world.after(
                    2, self.expect_suspect, p, d)
            if p.heals:
                self.world.at(self.begin + p.heals * 60, self.heal, p)
        for k in range(int(self.minutes * 3)):  # healthy traffic, always
            i = self.chance.randrange(HEALTHY)
            self.plan_letter(i, self.places[i], 1000 + k,
                             self.chance.uniform(0, self.minutes * 60 - 30),
                             False)
        i = len(self.places) - 1  # behind the flood
        self.plan_letter(i, self.places[i], 2000, 32, False)
        if self.seed % 2:
            for _ in range(self.chance.randrange(1, 4)):
                self.world.at(self.begin + self.chance.uniform(
                    10, self.minutes * 40), self.kill)
        for t in range(SAMPLE, int(self.minutes * 60), SAMPLE):
            self.world.at(self.begin + t, self.sample)

    def plan_letter(self, i, place, k, when, first):
        among = 2 if place.at_once else 0  # in a window, others behind it
        poison = first and among <= k < among + place.poison
        flood = place.sender is not None and k < 1000
        token = "%s%02d-%d" % ("poison" if poison else "m", i, k)
        n = place.rcpts if place.rcpts > 1 else self.chance.choice(
            [1, 1, 1, 2]) if not flood else 1
        letter = letters.Letter(
            token, ["%s-%d@%s%s" % (token, j, "d%d." % j if place.below else
                                    "", place.domain) for j in range(n)],
            place.sender if flood else None,
            self.chance.choice([200, 200, 2000, 60000]))
        if place.sender is not None and not flood:
            letter.slack = -place.slack  # fair turns
        if self.chance.random() < 0.1 and not poison and \
                place.sender is None:
            # in the same message: none of the others is its business
            letter.rcpts += ["%s-x%d@%s" % (token, j, p.domain) for j, p in
                             enumerate(self.chance.sample(self.places, 2))
                             if p is not place and p.letters]
        self.world.at(self.begin + when, self.submit, letter)

    def expect_suspect(self, place, deed):
        """A line before the host when it is due again, and more mail that
        comes while it waits."""
        rcpt = "%s-0@%s" % (deed.token, place.domain)
        lines = self.m.events("send.deferred", to=rcpt)
        if not lines or not table.makes_suspect(deed):
            return
        due = judge.seconds(lines[-1]["next"]) - self.begin
        for k in range(BURST * 2):
            self.burst += 1
            self.plan_letter(self.places.index(place), place,
                             3000 + self.burst, due - 0.5 if k < BURST else
                             due + 5 * self.chance.random(), False)

    def submit(self, letter):
        self.letters.append(letter)
        for r in letter.rcpts:
            self.by_rcpt[r] = letter
        self.client.submit(letter)

    def heal(self, place):
        for h in place.hosts:
            h.habit.bad = False
            if h.state != "there":
                h.be("there")
        place.zone.manner = "ok"

    def sample(self):
        self.client.rest()
        self.samples.append((self.world.now(), self.queue()))

    def queue(self):
        out = self.m.tool("queue", "list", "--json", env=self.world.time.env)
        return [harness.json.loads(x) for x in out.stdout.splitlines()]

    def kill(self):
        pid = letters.sender_pid(self.m)
        if pid is None:
            return
        due = {r["address"]: judge.seconds(r["next_attempt"])
               for x in self.queue() for r in x["recipients"]
               if r["next_attempt"]}
        os.kill(pid, signal.SIGKILL)
        self.kills.append(self.world.now())
        self.at_kill.append((self.world.now(), due))
        harness.until("another sender", lambda: letters.sender_pid(self.m)
                      not in (None, pid))
        self.world.program.look_again()

    def live(self):
        self.plan()
        self.rested = self.world.run_until(
            self.end, WAITS * (self.minutes + 15), self.factor * PATIENCE)
        self.waited = self.world.waited()
        self.client.rest()
        self.samples.append((self.world.now(), self.queue()))
        self.end = self.world.now()

    def write_records(self, path):
        """What the hosts saw."""
        with open(path, "w", encoding="utf-8") as f:
            for h, place in self.by_host.items():
                f.write("%s %r\n" % (h.key(), place))
                for v in h.visits:
                    f.write("  +%.3f to %s %r\n" % (
                        self.since(v.start), "+%.3f" % self.since(v.end)
                        if v.end else "?", v))
                    for when, token in v.mails:
                        f.write("    +%.3f MAIL %s\n" % (self.since(when),
                                                         token))
                for when, _, rcpt, sure in h.taken:
                    f.write("  +%.3f took %s%s\n" % (
                        self.since(when), rcpt, "" if sure else "?"))

    def close(self, keep=None):
        try:
            if keep:
                shutil.copytree(self.m.dir, keep, dirs_exist_ok=True,
                                ignore=shutil.ignore_patterns("run", "wake",
                                                              "submit"))
                self.write_records(os.path.join(keep, "records"))
        finally:
            self.end_all()

    def end_all(self):
        try:
            self.m.cleanup()
        finally:
            for h in self.by_host:
                h.close()
            self.world.close()


def one(seed, args):
    """The failed verdicts of a run."""
    began = time.monotonic()
    run = Run(seed, args.minutes, args.without)
    try:
        run.live()
        found = judge.Judge(run).judge()
    finally:
        run.close(args.keep)
    print("seed %d: %d letters, %d recipients judged, %d undecided; slowest"
          " %.1f s; kills %d; waits %d; %d min in %.0f s" % (
              seed, len(run.letters), found.judged, found.undecided,
              found.slowest, len(run.kills), run.waited, args.minutes,
              time.monotonic() - began))
    for verdict, texts in found.failed.items():
        print("seed %d: NOT TRUE: %s (%d times)" % (
            seed, judge.VERDICTS[verdict], len(texts)))
        for t in texts if args.verbose else texts[:5]:
            print("    " + t)
    sys.stdout.flush()
    return collections.Counter({v: len(t) for v, t in found.failed.items()})


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, action="append", default=[])
    ap.add_argument("--random", action="store_true",
                    help="and one seed more, which is printed")
    ap.add_argument("--seconds", type=float, default=0,
                    help="seeds at random for so long")
    ap.add_argument("--minutes", type=float, default=75,
                    help="of the program's time")
    ap.add_argument("--without", action="append", default=[],
                    help="no mail for places in whose description this is")
    ap.add_argument("--keep", help="copy directory and records here")
    ap.add_argument("-v", "--verbose", action="store_true")
    args = ap.parse_args()
    seeds = args.seed + ([random.randrange(10**6)] if args.random else [])
    failed, runs, began = collections.Counter(), 0, time.monotonic()
    while seeds or time.monotonic() - began < args.seconds:
        seed = seeds.pop(0) if seeds else random.randrange(10**6)
        failed += one(seed, args)
        runs += 1
    bad = [v for v in judge.VERDICTS if failed[v]]
    for v in bad:
        print("FAILED: " + judge.VERDICTS[v])
    print("%d passed, %d failed" % (len(judge.VERDICTS) - len(bad), len(bad)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
