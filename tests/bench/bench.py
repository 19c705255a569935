#!/usr/bin/python3
"""Compare mta with its peers in one run.

usage: bench.py [--only ROW,ROW] [--peers PEER,PEER] [--rounds N]
                [--messages N] [--seconds S] [--no-syncs] [--quick] [--write]
                [--list] [--json FILE] [--dir DIR] [--gib N]
                [--base BINARY]

A row is one kind of work (--list names them).  In each round all peers take
turns, each started anew with an empty queue, so a machine whose speed drifts
treats them alike.  Figures are median (least - most) of the rounds; CPU is
that of all processes of a peer; syncs are counted with strace in a run of
their own.  --write puts the tables into docs/bench.md.

With --base another build of mta takes the place of the peers (compare.py);
the exit status is 1 when this one is slower.

Needs root: it makes namespaces and a file system of its own, which end with
it (see place.py).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "system")]

import account  # noqa: E402
import compare  # noqa: E402
import harness  # noqa: E402
import place  # noqa: E402
import rows_accept  # noqa: E402
import rows_deliver  # noqa: E402
import rows_relay  # noqa: E402
import rows_state  # noqa: E402
import rows_submit  # noqa: E402
import rows_tls  # noqa: E402
import rows_tools  # noqa: E402
import tools  # noqa: E402
from peer_exim import Exim  # noqa: E402
from peer_opensmtpd import OpenSmtpd  # noqa: E402
from peer_postfix import Postfix  # noqa: E402
from peers import Mta, build  # noqa: E402
from report import Report  # noqa: E402
from row import Plan, SamePlan  # noqa: E402

ROWS = rows_accept.ROWS + rows_submit.ROWS + rows_deliver.ROWS + \
    rows_relay.ROWS + rows_tls.ROWS + rows_state.ROWS + rows_tools.ROWS
PEERS = [Mta, Postfix, Exim, OpenSmtpd]


class Bench:
    def __init__(self, args, where, peers):
        self.args, self.place, self.peers = args, where, peers
        self.plan = (SamePlan if args.base else Plan)(args.seconds,
                                                      args.messages)

    def peer(self, cls, row, tuned=True):
        return cls(self.place, row.mode, tuned, **row.more)

    def attempt(self, name, row, work):
        """One result, or None: a peer that fails does not end the run."""
        try:
            return work()
        except (AssertionError, OSError, ValueError,
                subprocess.SubprocessError) as e:
            print("bench: %s, %s: %s" % (row.name, name, e), flush=True)
            return None

    def one(self, cls, row, env, tuned=True):
        def work():
            if row.alone:
                place.new_network()
            with self.peer(cls, row, tuned) as p:
                return row.measure(p, env, self.plan)
        return self.attempt(cls.name, row, work)

    def syncs(self, cls, row, env):
        def work():
            with self.peer(cls, row) as p:
                return {"syncs": row.measure_syncs(p, env)}
        return self.attempt(cls.name, row, work)

    def wants_syncs(self, row):
        return row.syncs and not self.args.no_syncs and (
            not self.args.quick or any(g.key == "syncs" for g in row.goals))

    def row(self, row):
        who = [c for c in self.peers if c.name in row.who]
        results = {c.name: [] for c in who}
        with row.surroundings() as env:
            for _ in range(row.rounds or self.args.rounds):
                for cls in who:
                    got = self.one(cls, row, env)
                    results[cls.name] += [got] if got else []
            for cls in who:
                if self.wants_syncs(row):
                    got = self.syncs(cls, row, env)
                    results[cls.name] += [got] if got else []
            for cls in who:
                if cls.name in row.untuned:
                    got = self.one(cls, row, env, tuned=False)
                    results[cls.name + ":untuned"] = [got] if got else []
        return results

    def pairs(self, row, env):
        """[(result of the base, result of the new build)] of the rounds."""
        found = []
        for number in range(self.args.rounds):
            self.plan.new_round()
            got = {cls: self.one(cls, row, env)
                   for cls in compare.order(self.peers, number)}
            found.append(tuple(got[cls] for cls in self.peers))
        return found

    def compared(self, row):
        """A row that would fail gets as many rounds again, which count as
        much: noise is seldom the same twice."""
        with row.surroundings() as env:
            found = self.pairs(row, env)
            if compare.faults(row.compared, found):
                found += self.pairs(row, env)
        return found


def ceilings(n):
    """What the generator and the sink can do with nobody between them."""
    lines = []
    with tools.Sink("127.0.0.1", port=2525):
        for text, conns, more in (
                ("20 connections, one message each", 20, {"keep": False}),
                ("1 kept", 1, {}), ("100 kept", 100, {}),
                ("100 kept, pipelining", 100, {"pipeline": True})):
            said = tools.load(2525, conns, n, **more)
            lines.append("ceiling of the generator, 1 KiB, %s, into a sink: "
                         "%.0f a second, %.0f µs of its own CPU each" % (
                             text, said["rate"], said["own_cpu_us"]))
    return lines


def arguments():
    ap = argparse.ArgumentParser()
    ap.add_argument("--only", help="rows, by name or the start of it")
    ap.add_argument("--peers", help="of mta,postfix,exim,opensmtpd")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--messages", type=int)
    ap.add_argument("--seconds", type=float, default=1.5)
    ap.add_argument("--no-syncs", action="store_true")
    ap.add_argument("--quick", action="store_true",
                    help="short rounds, no rows that take long")
    ap.add_argument("--write", action="store_true")
    ap.add_argument("--list", action="store_true")
    ap.add_argument("--json")
    ap.add_argument("--base", help="compare with this build of mta")
    ap.add_argument("--dir", default=tempfile.gettempdir())
    ap.add_argument("--gib", type=int, default=4,
                    help="of the file system; 0: that of --dir")
    args = ap.parse_args()
    if args.quick:
        args.rounds, args.seconds, args.gib = 1, 0.5, 1
    wanted = args.only.split(",") if args.only else [""]
    args.rows = [r for r in ROWS if any(
        r.name == w or r.name.startswith(w) and w not in
        [x.name for x in ROWS] for w in wanted)
        and not (args.quick and r.slow) and (r.compared or not args.base)]
    wanted = args.peers.split(",") if args.peers else [p.name for p in PEERS]
    args.peers = [p for p in PEERS if p.name in wanted]
    return args


def compare_builds(args, where, others):
    """Returns the exit status."""
    builds = [build("base", os.path.abspath(args.base)),
              build("new", harness.MTA)]
    for b in builds:
        print("%s: %s, version %s" % (b.name, b.binary, b.version()),
              flush=True)
    bench, results, slower = Bench(args, where, builds), {}, []
    for row in args.rows:
        results[row.name] = pairs = bench.compared(row)
        print(compare.row_text(row, pairs), flush=True)
        if compare.faults(row.compared, pairs):
            slower.append(row.name)
        if args.json:
            with open(args.json, "w") as f:
                json.dump(results, f, indent=1)
    print("\nother programs: %.0f %% of the machine's CPU time" % (
        others.share() * 100))
    print("bench-compare: %s" % ("slower in " + ", ".join(slower) if slower
                                 else "as fast as the base"))
    return 1 if slower else 0


def main():
    args = arguments()
    if args.list:
        for r in ROWS:
            print("%-14s %s" % (r.name, r.title))
        return
    place.enter([os.path.abspath(__file__)] + sys.argv[1:], args.dir)
    account.Group.run = os.path.basename(os.environ[place.TOP])
    others = account.Others()
    where = place.Place(args.gib)
    if args.base:
        sys.exit(compare_builds(args, where, others))
    peers = [p for p in args.peers if p.version()]
    facts = place.facts(where)
    facts["servers"] = ", ".join(
        "%s %s" % (p.title, p.version()) for p in peers)
    facts["rounds"] = "%d of about %g s" % (args.rounds, args.seconds)
    report = Report(facts, {p.name: p.title for p in peers}, args.rounds)
    report.ceilings = ceilings(args.messages or 20000)
    print("\n".join(report.ceilings), flush=True)
    bench = Bench(args, where, peers)
    for row in args.rows:
        results = bench.row(row)
        report.add(row, results)
        print(report.one(row, results), flush=True)
        if args.json:
            with open(args.json, "w") as f:
                json.dump({r.name: res for r, res in report.rows}, f,
                          indent=1)
        facts["other programs"] = "%.0f %% of the machine's CPU time " \
            "went to them meanwhile" % (others.share() * 100)
    print("\nother programs: " + facts["other programs"])
    if args.write:
        report.write()


if __name__ == "__main__":
    main()
