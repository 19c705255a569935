#!/usr/bin/python3
"""Compare mta with its peers in one run; print ratios, not just rates.

usage: bench.py [--rounds N] [--messages N] [--size OCTETS] [--dir DIR]
                [--json FILE] [--no-strace]

For each number of connections the peers take turns, round after round, so
that a machine whose speed drifts treats them alike.  Figures are the median
and (minimum - maximum) of the rounds.  CPU is that of all processes of the
peer, taken from /proc, ended children included; syncs per message are
counted with strace in a run of their own, because strace costs time.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

from peers import MtaPeer, PostfixPeer
import harness

LOAD = os.path.join(harness.ROOT, "build", "bench", "load")


def load(port, conns, messages, size, keep=True):
    cmd = [LOAD, "-a", "127.0.0.1:%d" % port, "-c", str(conns), "-n",
           str(messages), "-s", str(size), "-t", "user%d@elsewhere.test"]
    done = subprocess.run(cmd + (["-k"] if keep else []),
                          stdout=subprocess.PIPE, check=False)
    return json.loads(done.stdout)


def one(peer, conns, messages, size, keep):
    before = peer.cpu()
    result = load(peer.port, conns, messages, size, keep)
    used = peer.cpu() - before
    result["cpu_us"] = used * 1e6 / max(1, result["messages"])
    return result


def count_syncs(peer, conns, messages, size):
    """fsync and its kin per message, counted with strace."""
    out = os.path.join(peer.dir, "strace")
    args = ["strace", "-f", "-qq", "-e",
            "trace=fsync,fdatasync,syncfs,sync_file_range,msync", "-o", out]
    for pid in peer.pids():
        args += ["-p", str(pid)]
    tracer = subprocess.Popen(args, stderr=subprocess.DEVNULL)
    harness.until("strace attached", lambda: all(
        "TracerPid:\t0" not in open("/proc/%d/status" % p).read()
        for p in peer.pids()))
    result = load(peer.port, conns, messages, size)
    tracer.terminate()
    tracer.wait()
    with open(out) as f:
        calls = len(re.findall(r"(?:sync|sync_file_range)\([0-9]", f.read()))
    return calls / max(1, result["messages"])


def spread(values, digits=0):
    return "%.*f (%.*f-%.*f)" % (digits, statistics.median(values), digits,
                                 min(values), digits, max(values))


def file_system(path):
    done = subprocess.run(["df", "--output=source,fstype", path],
                          stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.splitlines()[-1]


def measure(peers, conns, args):
    rounds = {p.name: [] for p in peers}
    for _ in range(args.rounds):
        for p in peers:
            messages = args.messages if conns > 1 else args.messages // 5
            rounds[p.name].append(one(p, conns, messages, args.size, True))
    return rounds


def report(conns, rounds, syncs):
    base = statistics.median(r["rate"] for r in rounds["postfix"])
    for name, results in rounds.items():
        rate = [r["rate"] for r in results]
        print("| %3d | %-8s | %-26s | %-20s | %5.0f | %6.0f | %-5s | %5.1fx |"
              % (conns, name, spread(rate),
                 spread([r["cpu_us"] for r in results]),
                 statistics.median(r["p50_us"] for r in results),
                 statistics.median(r["p99_us"] for r in results),
                 "-" if name not in syncs else "%.3f" % syncs[name],
                 statistics.median(rate) / base))
    sys.stdout.flush()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--messages", type=int, default=5000)
    ap.add_argument("--size", type=int, default=4096)
    ap.add_argument("--dir", default=tempfile.gettempdir())
    ap.add_argument("--json")
    ap.add_argument("--no-strace", action="store_true")
    args = ap.parse_args()
    print("%d octets a message, connections kept, %d messages a round, %d "
          "rounds, on %s\n" % (args.size, args.messages, args.rounds,
                               file_system(args.dir)))
    print("| con | peer     | messages/s                 | CPU us/message   "
          "    | p50us | p99 us | syncs | ratio  |")
    print("|----:|----------|----------------------------|------------------"
          "----|------:|-------:|-------|-------:|")
    peers = [MtaPeer(args.dir), PostfixPeer(args.dir)]
    everything = {}
    try:
        for p in peers:
            p.start()
        for conns in (1, 20, 100):
            rounds = measure(peers, conns, args)
            syncs = {} if args.no_strace else {
                p.name: count_syncs(p, conns, 500 if conns == 1 else 2000,
                                    args.size) for p in peers}
            report(conns, rounds, syncs)
            everything[conns] = {"rounds": rounds, "syncs": syncs}
    finally:
        for p in peers:
            p.stop()
    if args.json:
        with open(args.json, "w") as f:
            json.dump(everything, f, indent=1)


if __name__ == "__main__":
    main()
