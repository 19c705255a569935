"""Where a run happens: namespaces of its own and a file system of its own.

The benchmark runs in its own namespaces: of the network (ports and
addresses are ours, nothing leaves the machine), of mounts (a file system on
a loop device, resolv.conf of our own) and of processes.  So whatever ends
it, nothing goes on, and the process that waits outside clears the rest away.
"""

import contextlib
import ctypes
import mmap
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import account
import certs
import harness

TOP = "BENCH_TOP"  # in the environment: our directory, once inside
DNS = "127.0.0.53"
CLONE_NEWNET = 0x40000000

# OpenSMTPD's resolver wants an address that is not 127.0.0.1.
LOOPBACK = "ip link set lo up; ip addr add 192.0.2.1/32 dev lo"


def enter(argv, base):
    """Start this program again inside; returns when we are inside."""
    if os.environ.get(TOP):
        return
    if os.geteuid() != 0:
        sys.exit("bench: only root may run the peers")
    top = tempfile.mkdtemp(prefix="mta-bench-", dir=base)
    # The shell is process 1 and collects orphans.  Queues and memory of
    # servers that are killed end with the namespace.
    script = LOOPBACK + '; "$@"; exit $?'
    inside = subprocess.Popen(
        ["unshare", "--net", "--mount", "--ipc", "--pid", "--fork",
         "--kill-child", "--mount-proc", "sh", "-c", script, "sh",
         sys.executable] + argv,
        env=dict(os.environ, **{TOP: top}))
    # unshare itself ignores milder signals; its child dies with it.
    signal.signal(signal.SIGTERM, lambda *_: inside.kill())
    signal.signal(signal.SIGINT, lambda *_: inside.kill())
    try:
        status = inside.wait()
    finally:
        account.clear(os.path.basename(top))
        shutil.rmtree(top, ignore_errors=True)
    sys.exit(status if status >= 0 else 128 - status)


def new_network():
    """For this process and whom it starts from here on.  Connections that
    have ended hold their ports for a minute (TIME_WAIT); without this, those
    of one server would be in the way of the next."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "a new network namespace")
    run("sh", "-e", "-c", LOOPBACK)


def back_memory(octets):
    """Take so much memory from the host and free it at once, for what comes
    now.  From a virtual machine the host takes back what has been free for
    some seconds; to get a page anew costs several times what it costs to fill
    it, and whoever writes most pays most."""
    huge = 2 << 20
    size = -(-octets // huge) * huge
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as m:
        with contextlib.suppress(OSError):  # a kernel without
            m.madvise(mmap.MADV_HUGEPAGE)
        for page in range(0, size, mmap.PAGESIZE):
            m[page] = 1


def run(*cmd):
    return subprocess.run(cmd, check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True).stdout.strip()


class Place:
    current = None  # the one of this run

    def __init__(self, gib):
        self.top = os.environ[TOP]
        self.dir = os.path.join(self.top, "fs")
        os.mkdir(self.dir)
        os.chmod(self.top, 0o755)
        self.mounted = False
        self.pair = None
        Place.current = self
        try:
            if gib > 0:
                self.mount(gib)
        except (subprocess.CalledProcessError, OSError) as e:
            print("bench: no loop device (%s): using the directory's own "
                  "file system" % str(getattr(e, "output", e)).strip())
        self.resolv_conf()

    def mount(self, gib):
        """A journaled ext4 whose blocks are all written once, so that no
        write of a peer is an allocation in the file below."""
        image = os.path.join(self.top, "image")
        try:
            run("dd", "if=/dev/zero", "of=" + image, "bs=4M",
                "count=%d" % (gib * 256), "oflag=direct", "status=none")
            # Some peers make three files of a message: many inodes.
            run("mkfs.ext4", "-q", "-i", "4096", "-E",
                "lazy_itable_init=0,lazy_journal_init=0", image)
            loop = run("losetup", "--direct-io=on", "-f", "--show", image)
            try:
                run("mount", "-o", "noatime", loop, self.dir)
                self.mounted = True
            finally:
                run("losetup", "-d", loop)  # for good once it is unmounted
            with open("/sys/block/%s/loop/dio" % os.path.basename(loop)) as f:
                self.direct = f.read().strip() == "1"
        finally:
            if os.path.exists(image):
                os.unlink(image)  # the loop device holds it
        os.chmod(self.dir, 0o755)

    def resolv_conf(self):
        """All peers ask our own name server, if any is running."""
        own = os.path.join(self.top, "resolv.conf")
        with open(own, "w") as f:
            f.write("nameserver %s\n" % DNS)
        run("mount", "--bind", own, os.path.realpath("/etc/resolv.conf"))

    def certificate(self):
        """(certificate, key): one for all servers and sinks, P-256."""
        if self.pair is None:
            self.pair = certs.make(self.top, "mx.bench.test")
        return self.pair

    def certificate_and_key(self):
        """Both in one file."""
        path = os.path.join(self.top, "both.pem")
        if not os.path.exists(path):
            with open(path, "w") as out:
                for part in self.certificate():
                    with open(part) as f:
                        out.write(f.read())
        return path

    def dkim_key(self):
        path = os.path.join(self.top, "dkim.key")
        if not os.path.exists(path):
            run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt",
                "rsa_keygen_bits:2048", "-out", path)
            os.chmod(path, 0o600)
        return path

    def room(self, name):
        """A new directory for a server."""
        path = tempfile.mkdtemp(prefix=name + "-", dir=self.dir)
        os.chmod(path, 0o755)
        return path

    def describe(self):
        if self.mounted:
            return "ext4 with its journal on a loop device, %s" % (
                "direct I/O" if self.direct else "buffered (no direct I/O)")
        out = run("df", "--output=fstype", self.dir).splitlines()[-1]
        return out + ", the directory's own (no loop device)"


def processor():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def commit():
    def git(*args):
        return subprocess.run(["git", "-C", harness.ROOT, *args],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, check=False).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--",
                  "src", "include", "mta.c", "tests/bench", "Makefile")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (
        " with changes" if changed else "")


def facts(place):
    """What the header of a report says of the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "machine": "%d cores (%s), %.0f GiB" % (
            os.cpu_count(), processor(), memory / 2**30),
        "kernel": platform.release(),
        "file system": place.describe(),
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
        "commit": commit(),
    }
