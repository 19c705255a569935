"""What a server costs: CPU time, memory, syncs, of all its processes.

Each server lives in a control group of its own.  Its CPU time includes that
of children that have ended, however they were reparented, and work that the
kernel does in their name; its list of processes is complete.
"""

import glob
import os
import re
import signal
import subprocess

import harness

V1 = "/sys/fs/cgroup/cpuacct"
TICK = os.sysconf("SC_CLK_TCK")
V2 = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]


def hierarchy():
    if os.path.exists(V1 + "/cpuacct.usage"):
        return V1
    for top in V2:
        if os.path.exists(top + "/cgroup.procs"):
            return top
    raise SystemExit("bench: no control groups to count CPU time with")


class Others:
    """What the machine does meanwhile that is none of ours: such figures
    are worth little if it is much."""

    def __init__(self):
        self.own = Group("bench")
        self.own.enter()
        self.start = self.stat()

    @staticmethod
    def stat():
        with open("/proc/stat") as f:
            ticks = [int(x) for x in f.readline().split()[1:9]]
        everything = sum(ticks) / TICK
        return everything - (ticks[3] + ticks[4]) / TICK, everything

    def share(self):
        """Of the CPU time of all cores so far."""
        busy, everything = (b - a for a, b in zip(self.start, self.stat()))
        return max(0, busy - self.own.cpu() - Group.used) / everything


class Group:
    """A control group; processes that enter() and all they start."""
    run = "mta-bench"  # the run that it belongs to
    made = 0
    used = 0  # seconds of CPU of all that are gone

    def __init__(self, name):
        Group.made += 1
        self.dir = os.path.join(hierarchy(), "%s-%d-%s" % (
            Group.run, Group.made, name))
        os.mkdir(self.dir)

    def enter(self):
        """For the process that calls it: a child before its exec."""
        with open(os.path.join(self.dir, "cgroup.procs"), "w") as f:
            f.write("0")

    def cpu(self):
        """Seconds of CPU that it used so far."""
        usage = os.path.join(self.dir, "cpuacct.usage")
        if os.path.exists(usage):
            with open(usage) as f:
                return int(f.read()) / 1e9
        with open(os.path.join(self.dir, "cpu.stat")) as f:
            return int(re.search(r"usage_usec (\d+)", f.read()).group(1)) / 1e6

    def pids(self):
        with open(os.path.join(self.dir, "cgroup.procs")) as f:
            return [int(x) for x in f.read().split()]

    def signal(self, signo):
        for pid in self.pids():
            try:
                os.kill(pid, signo)
            except ProcessLookupError:
                pass

    def kill(self):
        """End all of it, at once: what it holds is thrown away."""
        def gone():
            self.signal(signal.SIGKILL)
            return not self.pids()
        harness.until("processes gone", gone)
        Group.used += self.cpu()
        os.rmdir(self.dir)

    def memory(self, pids=None):
        """Octets of private memory, and of proportional, of all processes."""
        private = shared = 0
        for pid in pids or self.pids():
            try:
                with open("/proc/%d/smaps_rollup" % pid) as f:
                    text = f.read()
            except (FileNotFoundError, ProcessLookupError):
                continue
            for kind, kib in re.findall(
                    r"(Private_Clean|Private_Dirty|Pss): +(\d+) kB", text):
                if kind == "Pss":
                    shared += int(kib) * 1024
                else:
                    private += int(kib) * 1024
        return private, shared

    def names(self):
        """Command lines by process."""
        found = {}
        for pid in self.pids():
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                found[pid] = f.read().replace(b"\0", b" ").decode().strip()
        return found


def clear(run):
    """Remove the groups of a run whose processes are ending."""
    def gone():
        for path in glob.glob(os.path.join(hierarchy(), run + "-*")):
            try:
                os.rmdir(path)
            except OSError:
                return False
        return True
    harness.until("control groups gone", gone)


SYNCS = "fsync,fdatasync,syncfs,sync_file_range,msync,sync"


def count_syncs(group, out, work):
    """Calls of fsync and its kin by a group while work() runs; returns that
    number and what work() returned.  strace costs time, so this is a run of
    its own."""
    args = ["strace", "-f", "-qq", "-e", "trace=" + SYNCS, "-o", out]
    pids = group.pids()
    for pid in pids:
        args += ["-p", str(pid)]
    tracer = subprocess.Popen(args, stderr=subprocess.DEVNULL)

    def attached():
        for pid in pids:
            for path in glob.glob("/proc/%d/task/*/status" % pid):
                try:
                    with open(path) as f:
                        if "TracerPid:\t0" in f.read():
                            return False
                except (FileNotFoundError, ProcessLookupError):
                    pass
        return True
    harness.until("strace attached", attached)
    result = work()
    tracer.terminate()
    tracer.wait()
    with open(out) as f:
        calls = re.findall(r"^\d+ +(?:%s)\(" % SYNCS.replace(",", "|"),
                           f.read(), re.M)
    os.unlink(out)
    return len(calls), result
